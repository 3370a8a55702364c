# One schedule for each timer of the manifest: the alerts' and the sweep's.

# The first of all resources. AWS makes no second group of a name, while it gives out a queue, a topic or a bucket that is
# there already as if it were new, and writes over an alarm: those wait for this one, so that a second deployment of the
# same name in a region ends here, before it has changed anything of the first.
resource "aws_scheduler_schedule_group" "this" {
  name = var.name
  tags = local.tags
}

locals {
  # Names, descriptions and inputs are what `omni schedule` would write, so that neither undoes the other's work.
  timers = {
    for name, timer in local.manifest.timers : name => {
      cron       = timer.cron
      expression = try(timer.native.expression, "")
      full_name  = "${var.name}.${timer.id}"
      payload    = trimsuffix(jsonencode(timer.payload), "}")
      timezone   = timer.timezone
    } if var.manage_timers
  }
}

resource "aws_scheduler_schedule" "timer" {
  for_each = local.timers

  #checkov:skip=CKV_AWS_297:a schedule holds the alert's name and nothing secret
  name                         = length(each.value.full_name) <= 64 ? each.value.full_name : "${substr(each.value.full_name, 0, 55)}-${substr(sha256(each.value.full_name), 0, 8)}"
  group_name                   = aws_scheduler_schedule_group.this.name
  description                  = jsonencode({ cron = each.value.cron, name = each.key, timezone = each.value.timezone })
  schedule_expression          = each.value.expression
  schedule_expression_timezone = each.value.timezone
  state                        = "ENABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = local.aliases["watch"].arn
    role_arn = aws_iam_role.timers.arn
    input    = "${each.value.payload},\"scheduled_at\":\"<aws.scheduler.scheduled-time>\"}"

    dead_letter_config {
      arn = aws_sqs_queue.dead_letters.arn
    }
    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 3
    }
  }

  lifecycle {
    precondition {
      condition     = can(regex("^(cron|rate)\\(.+\\)$", each.value.expression))
      error_message = "The schedule of alert ${each.key} (${each.value.cron}) is not expressed for EventBridge Scheduler. Build the manifest anew: omni bundle aws --parts."
    }
  }
}
