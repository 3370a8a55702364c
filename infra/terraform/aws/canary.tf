# A new version takes 5 % of the calls at first. An alarm on its errors, failures or latency puts all calls back.
# `omni deploy aws --apply` starts the deployments that the output `canary` names.

locals {
  canaries = { for name, one in local.functions : name => one if var.canary.enabled }
}

resource "aws_codedeploy_app" "this" {
  count = var.canary.enabled ? 1 : 0

  name             = var.name
  compute_platform = "Lambda"
  tags             = local.tags
}

resource "aws_codedeploy_deployment_config" "this" {
  count = var.canary.enabled ? 1 : 0

  deployment_config_name = "${var.name}-${var.canary.percent}-percent-${var.canary.minutes}-minutes"
  compute_platform       = "Lambda"

  traffic_routing_config {
    type = "TimeBasedCanary"
    time_based_canary {
      interval   = var.canary.minutes
      percentage = var.canary.percent
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_codedeploy_deployment_group" "this" {
  for_each = local.canaries

  app_name               = aws_codedeploy_app.this[0].name
  deployment_group_name  = each.key
  deployment_config_name = aws_codedeploy_deployment_config.this[0].deployment_config_name
  service_role_arn       = aws_iam_role.codedeploy[0].arn
  tags                   = local.tags

  deployment_style {
    deployment_option = "WITH_TRAFFIC_CONTROL"
    deployment_type   = "BLUE_GREEN"
  }
  auto_rollback_configuration {
    enabled = true
    events  = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"]
  }
  alarm_configuration {
    enabled = true
    alarms = compact([
      aws_cloudwatch_metric_alarm.canary_errors[each.key].alarm_name,
      aws_cloudwatch_metric_alarm.canary_failures[each.key].alarm_name,
      try(aws_cloudwatch_metric_alarm.canary_latency[each.key].alarm_name, ""),
    ])
  }
}

# Of the newest version alone, as called through the alias: the old one's calls do not hide it.
resource "aws_cloudwatch_metric_alarm" "canary_errors" {
  for_each = local.canaries

  alarm_name          = "${var.name}-canary-${each.key}-errors"
  alarm_description   = "The new version of ${each.key} fails: CodeDeploy takes it back."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  statistic           = "Sum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.alarms.errors
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  tags                = local.tags

  dimensions = {
    ExecutedVersion = aws_lambda_function.this[each.key].version
    FunctionName    = aws_lambda_function.this[each.key].function_name
    Resource        = "${aws_lambda_function.this[each.key].function_name}:live"
  }
}

# Errors are what Lambda sees: a crash, a timeout, what watch raises. ask answers with its failures and work gives them
# back to the queue, so the code counts those itself, with its version. It writes nothing while nothing fails.
resource "aws_cloudwatch_metric_alarm" "canary_failures" {
  for_each = local.canaries

  alarm_name          = "${var.name}-canary-${each.key}-failures"
  alarm_description   = "Calls of the new version of ${each.key} fail: CodeDeploy takes it back."
  namespace           = "OmniSentinel"
  metric_name         = "FailedOfVersion"
  statistic           = "Sum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.alarms.errors
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  tags                = local.tags

  dimensions = {
    function = each.key
    service  = var.name
    version  = aws_lambda_function.this[each.key].version
  }
}

resource "aws_cloudwatch_metric_alarm" "canary_latency" {
  for_each = { for name, limit in local.latencies : name => limit if var.canary.enabled }

  alarm_name          = "${var.name}-canary-${each.key}-latency"
  alarm_description   = "The new version of ${each.key} is slow (${each.value.statistic}): CodeDeploy takes it back."
  namespace           = "AWS/Lambda"
  metric_name         = "Duration"
  extended_statistic  = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.ms
  period              = 60
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  treat_missing_data  = "notBreaching"
  tags                = local.tags

  dimensions = {
    ExecutedVersion = aws_lambda_function.this[each.key].version
    FunctionName    = aws_lambda_function.this[each.key].function_name
    Resource        = "${aws_lambda_function.this[each.key].function_name}:live"
  }
}

locals {
  latencies = {
    ask   = { ms = var.alarms.ask_p99_ms, statistic = "p99" }
    watch = { ms = var.alarms.watch_p95_ms, statistic = "p95" }
  }
}
