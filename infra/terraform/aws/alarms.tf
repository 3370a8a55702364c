# What is wrong with the deployment itself; what is wrong in the data is what the alerts tell.

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = local.key_arn
  tags              = local.tags

  depends_on = [aws_scheduler_schedule_group.this]
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "AlarmsOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.alarm_emails

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

locals {
  alarms = merge(
    {
      # ask answers with its failures instead of raising them, so its own metric counts them.
      ask-failures = {
        description = "ask answers with failures of its own (5xx)."
        dimensions  = { function = "ask", service = var.name }
        metric      = "Failed"
        namespace   = "OmniSentinel"
      }
      # work gives back to its queue what failed, which is no error for Lambda either.
      work-failures = {
        description = "work could not do jobs: they come again, and after five times lie with the dead letters."
        dimensions  = { function = "work", service = var.name }
        metric      = "Failed"
        namespace   = "OmniSentinel"
      }
    },
    {
      for name, one in local.functions : "${name}-errors" => {
        description = "${name} ends with errors: its log group says why."
        dimensions  = { FunctionName = aws_lambda_function.this[name].function_name }
        metric      = "Errors"
        namespace   = "AWS/Lambda"
      }
    },
    {
      for name, one in local.functions : "${name}-throttles" => {
        description = "Calls of ${name} are refused: raise its concurrency, or the account's."
        dimensions  = { FunctionName = aws_lambda_function.this[name].function_name }
        metric      = "Throttles"
        namespace   = "AWS/Lambda"
      }
    },
  )
  dead_letters = {
    dead-letters      = { queue = aws_sqs_queue.dead_letters.name, what = "Runs of alerts were given up" }
    jobs-dead-letters = { queue = aws_sqs_queue.jobs_dead_letters.name, what = "Asynchronous questions were given up" }
  }
}

resource "aws_cloudwatch_metric_alarm" "function" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = "Sum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.alarms.errors
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = local.tags
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  for_each = local.dead_letters

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.what}: they lie in the queue ${each.value.queue}."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = local.tags
}

# No sweep, no alert: whatever stopped the timers, it is silence that tells.
resource "aws_cloudwatch_metric_alarm" "missed_sweeps" {
  alarm_name          = "${var.name}-missed-sweeps"
  alarm_description   = "No sweep has succeeded for ${var.alarms.missed_sweep_minutes} minutes: alerts may not run."
  namespace           = "OmniSentinel"
  metric_name         = "Swept"
  dimensions          = { function = "watch", service = var.name }
  statistic           = "Sum"
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = var.alarms.missed_sweep_minutes
  datapoints_to_alarm = var.alarms.missed_sweep_minutes
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
  tags                = local.tags
}

resource "aws_budgets_budget" "monthly" {
  count = var.budget_usd == null ? 0 : 1

  name         = local.global_name
  budget_type  = "COST"
  limit_amount = tostring(var.budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:deployment$%s", var.name)]
  }

  dynamic "notification" {
    for_each = length(var.alarm_emails) == 0 ? [] : [80, 100]
    content {
      comparison_operator        = "GREATER_THAN"
      notification_type          = "ACTUAL"
      subscriber_email_addresses = var.alarm_emails
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
    }
  }
}
