# `terraform test` without a cloud: every value that Azure would decide is a mock's.

mock_provider "azurerm" {
  source = "./tests/mocks"
}

mock_provider "azapi" {}

mock_provider "time" {}

variables {
  alarm_emails = ["oncall@example.com"]
  manifest     = "tests/fixture/deployment.json"
  name         = "omni"
  region       = "westeurope"
}

run "the_least" {
  command = plan

  assert {
    condition     = azapi_resource.app["stable"].body.properties.functionAppConfig.runtime.version == "3.13"
    error_message = "The runtime is the one for which the bundle was compiled."
  }

  assert {
    condition     = length(azapi_resource.timer) == 2
    error_message = "One workflow a timer of the manifest."
  }

  assert {
    condition     = azapi_resource.timer["low-stock"].body.properties.definition.triggers.schedule.recurrence.timeZone == "W. Europe Standard Time"
    error_message = "The recurrence is the manifest's."
  }

  assert {
    condition     = length(azurerm_application_insights.this) == 0 && join(" ", keys(azapi_resource.timer["low-stock"].body.properties.definition.actions)) == "key watch"
    error_message = "Tracing and canary are off until asked for."
  }
}

run "a_canary" {
  command = plan

  variables {
    canary = { manifest = "tests/fixture/deployment.json", percent = 20 }
  }

  assert {
    condition     = length(azapi_resource.app) == 2 && length(azurerm_service_plan.this) == 2
    error_message = "A canary is an app of its own, on a plan of its own."
  }

  assert {
    condition     = azapi_resource.timer["low-stock"].body.properties.definition.actions.canary.expression.and[0].less[1] == 20
    error_message = "The timers ask the canary in some of their runs."
  }
}

run "a_region_outside_the_residency" {
  command = plan

  variables {
    region    = "eastus2"
    residency = "europe"
  }

  expect_failures = [var.region]
}

run "no_alarm" {
  command = plan

  variables {
    alarm_emails = []
  }

  expect_failures = [var.alarm_emails]
}

run "a_setting_of_the_modules_own" {
  command = plan

  variables {
    environment = { OMNI_STORE_TABLE = "x" }
  }

  expect_failures = [var.environment]
}
