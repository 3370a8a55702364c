# Run with `terraform test`: every call of the provider is mocked by terraform itself.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  manifest = "tests/fixture/deployment.json"
}

run "schedules_come_from_the_manifest" {
  command = plan

  assert {
    condition     = toset(keys(aws_scheduler_schedule.timer)) == toset(["big-orders", "sweep"])
    error_message = "One schedule for each timer of the manifest."
  }
  assert {
    condition     = aws_scheduler_schedule.timer["big-orders"].schedule_expression == "cron(0 9 ? * 2-6 *)"
    error_message = "The expression is the manifest's."
  }
  assert {
    condition     = aws_scheduler_schedule.timer["sweep"].target[0].input == "{\"sweep\":true,\"scheduled_at\":\"<aws.scheduler.scheduled-time>\"}"
    error_message = "The slot is filled in by the service, so its mark may not be escaped."
  }
}

run "everything_is_wired" {
  command = apply

  assert {
    condition     = aws_lambda_event_source_mapping.work.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "Only what failed may come back to the queue."
  }
  assert {
    condition     = alltrue([for one in aws_lambda_function.this : one.publish])
    error_message = "Each change is a version."
  }
  assert {
    condition     = output.secrets == ["omnisentinel/ann_key"]
    error_message = "The secrets to create are told by their full names."
  }
}

run "a_canary_can_be_switched_off" {
  command = plan
  variables {
    canary = { enabled = false }
  }
  assert {
    condition     = length(aws_codedeploy_deployment_group.this) == 0 && length(aws_lambda_alias.direct) == 3
    error_message = "Without a canary Terraform moves the alias."
  }
}

run "a_name_is_checked" {
  command = plan
  variables {
    name = "Too_Long_And_Wrong_For_A_Deployment"
  }
  expect_failures = [var.name]
}

run "an_open_url_lets_anyone_invoke_ask_alone" {
  command = plan
  variables {
    url_auth = "NONE"
  }
  assert {
    condition     = length(aws_lambda_permission.url) == 1 && aws_lambda_permission.url_invoke[0].function_name == "omnisentinel-ask"
    error_message = "Only ask is open."
  }
}
