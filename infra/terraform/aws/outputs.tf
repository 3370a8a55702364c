output "alarm_topic_arn" {
  description = "The SNS topic of the alarms: subscribe your pager to it."
  value       = aws_sns_topic.alarms.arn
}

output "bucket" {
  description = "Code, project and answers of asynchronous questions."
  value       = aws_s3_bucket.this.id
}

output "canary" {
  description = "For `omni deploy`: the CodeDeploy application, and for each function its deployment group, alias and newest version. null without a canary."
  value = !var.canary.enabled ? null : {
    application = aws_codedeploy_app.this[0].name
    region      = local.region
    functions = {
      for name, one in aws_lambda_function.this : name => {
        alias    = "live"
        function = one.function_name
        group    = aws_codedeploy_deployment_group.this[name].deployment_group_name
        version  = one.version
      }
    }
  }
}

output "dead_letters" {
  description = "Queues of what was given up: runs of alerts, and asynchronous questions."
  value       = { jobs = aws_sqs_queue.jobs_dead_letters.url, runs = aws_sqs_queue.dead_letters.url }
}

output "function_names" {
  description = "ask, watch and work, as the console shows them."
  value       = { for name, one in aws_lambda_function.this : name => one.function_name }
}

output "function_roles" {
  description = "The role of each function: what a source inside AWS (a database, a bucket) has to let in."
  value       = { for name, one in aws_iam_role.function : name => one.arn }
}

output "function_url" {
  description = "Where ask answers: POST {\"sql\": ...} to v1/query below it."
  value       = aws_lambda_function_url.ask.function_url
}

output "key_arn" {
  description = "The KMS key of everything at rest; use it for the secrets as well."
  value       = local.key_arn
}

output "log_groups" {
  description = "Where each function logs."
  value       = { for name, one in aws_cloudwatch_log_group.function : name => one.name }
}

output "secrets" {
  description = "The secrets that have to be in Secrets Manager, by the full names that the functions ask for."
  value       = [for name in local.manifest.secrets : "${local.secret_prefix}${name}"]
}

output "settings" {
  description = "For `omni schedule`, `omni alert` and the like on your machine: set these variables."
  value = {
    OMNI_DEPLOYMENT      = var.name
    OMNI_REGION          = local.region
    OMNI_SCHEDULE_GROUP  = aws_scheduler_schedule_group.this.name
    OMNI_SCHEDULE_ROLE   = aws_iam_role.timers.arn
    OMNI_SCHEDULE_TARGET = local.aliases["watch"].arn
    OMNI_SECRET_PREFIX   = local.secret_prefix
    OMNI_STORE_TABLE     = aws_dynamodb_table.state.name
  }
}

output "table" {
  description = "The DynamoDB table of the state and the audit."
  value       = aws_dynamodb_table.state.name
}

output "watch_arn" {
  description = "What to call from a schedule of your own, with {\"alert\": NAME}."
  value       = local.aliases["watch"].arn
}
