locals {
  functions = {
    ask = {
      concurrency = var.concurrency.ask
      timeout     = local.manifest.ask_timeout_s
    }
    watch = {
      concurrency = var.concurrency.watch
      timeout     = local.manifest.watch_timeout_s
    }
    work = {
      concurrency = null # its queue caps it, without taking from the account's own
      timeout     = var.work_timeout_s
    }
  }

  settings = merge(
    {
      OMNI_DEPLOYMENT     = var.name
      OMNI_JOB_TTL_S      = "86400"
      OMNI_KEY            = local.key_arn
      OMNI_LOG_LEVEL      = "INFO"
      OMNI_MEMORY_LIMIT   = "${floor(var.memory_mb / 2)}MB"
      OMNI_OBJECTS        = aws_s3_bucket.this.id
      OMNI_PROJECT        = "/opt/omnisentinel/project"
      OMNI_QUEUE          = aws_sqs_queue.jobs.url
      OMNI_SCHEDULE_GROUP = aws_scheduler_schedule_group.this.name
      OMNI_SECRET_PREFIX  = local.secret_prefix
      OMNI_STORE_TABLE    = aws_dynamodb_table.state.name
      OMNI_TRACING        = tostring(var.tracing)
    },
    { for name, value in var.settings : "OMNI_${upper(name)}" => value },
  )
}

# The project is a layer: a published version pins both it and the code.
resource "aws_lambda_layer_version" "project" {
  layer_name               = "${var.name}-project"
  description              = local.manifest.project.digest
  s3_bucket                = aws_s3_object.project.bucket
  s3_key                   = aws_s3_object.project.key
  source_code_hash         = local.manifest.project.sha256_base64
  compatible_architectures = [local.manifest.architecture]
  compatible_runtimes      = ["python${local.manifest.python}"]

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudwatch_log_group" "function" {
  for_each = local.functions

  #checkov:skip=CKV_AWS_338:how long logs are kept is the user's to say; the audit is in the state table and stays
  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.key_arn
  tags              = local.tags
}

resource "aws_lambda_function" "this" {
  for_each = local.functions

  #checkov:skip=CKV_AWS_115:a new account has 10 in all and cannot reserve any; concurrency is the variable
  #checkov:skip=CKV_AWS_116:a dead letter queue holds asynchronous calls, which watch alone gets: see its invoke config
  #checkov:skip=CKV_AWS_117:a VPC is the user's to say; sources on the internet need none
  #checkov:skip=CKV_AWS_173:the environment holds names only; secrets are read from Secrets Manager
  #checkov:skip=CKV_AWS_272:the zips are built by who deploys them, and named by their digest; a signer would sign its own
  #checkov:skip=CKV_AWS_50:tracing is the user's to say, it costs each cold start
  function_name                  = "${var.name}-${each.key}"
  description                    = "OmniSentinel ${each.key}, project ${local.manifest.project.digest}"
  role                           = aws_iam_role.function[each.key].arn
  s3_bucket                      = aws_s3_object.code.bucket
  s3_key                         = aws_s3_object.code.key
  source_code_hash               = local.manifest.code.sha256_base64
  layers                         = [aws_lambda_layer_version.project.arn]
  handler                        = "handlers.aws.main.${each.key}"
  runtime                        = "python${local.manifest.python}"
  architectures                  = [local.manifest.architecture]
  memory_size                    = var.memory_mb
  timeout                        = each.value.timeout
  reserved_concurrent_executions = coalesce(each.value.concurrency, -1)
  publish                        = true
  tags                           = local.tags

  environment {
    variables = merge(var.environment, local.settings)
  }
  logging_config {
    log_format = "Text" # the lines are JSON already
    log_group  = aws_cloudwatch_log_group.function[each.key].name
  }
  tracing_config {
    mode = var.tracing ? "Active" : "PassThrough"
  }
  dynamic "vpc_config" {
    for_each = var.vpc[*]
    content {
      security_group_ids = vpc_config.value.security_group_ids
      subnet_ids         = vpc_config.value.subnet_ids
    }
  }

  lifecycle {
    precondition {
      condition     = length(setsubtract(local.manifest.environment, keys(var.environment))) == 0
      error_message = "The project refers to variables that `environment` does not set: ${join(", ", setsubtract(local.manifest.environment, keys(var.environment)))}."
    }
    precondition {
      condition     = length(join("", flatten([for name, value in var.environment : [name, value]]))) <= 3000
      error_message = "`environment` is longer than 3,000 characters: Lambda takes 4 kB of variables, and the module's own are among them. Long values fit better into secrets, or into omni.yaml itself."
    }
  }

  depends_on = [aws_iam_role_policy.function]
}

# With a canary CodeDeploy moves the alias; Terraform only makes it.
resource "aws_lambda_alias" "canary" {
  for_each = { for name, one in local.functions : name => one if var.canary.enabled }

  name             = "live"
  function_name    = aws_lambda_function.this[each.key].function_name
  function_version = aws_lambda_function.this[each.key].version

  lifecycle {
    ignore_changes = [function_version, routing_config]
  }
}

resource "aws_lambda_alias" "direct" {
  for_each = { for name, one in local.functions : name => one if !var.canary.enabled }

  name             = "live"
  function_name    = aws_lambda_function.this[each.key].function_name
  function_version = aws_lambda_function.this[each.key].version
}

locals {
  aliases = var.canary.enabled ? aws_lambda_alias.canary : aws_lambda_alias.direct
}

# ── ask: a URL ────────────────────────────────────────────────────────────────────────────────────────────────────

resource "aws_lambda_function_url" "ask" {
  #checkov:skip=CKV_AWS_258:AWS_IAM is the default; with NONE every request needs an API key of the project
  function_name      = aws_lambda_function.this["ask"].function_name
  qualifier          = local.aliases["ask"].name
  authorization_type = var.url_auth
}

# An open URL needs both: the second since AWS asks for the right to invoke beside the right to use the URL.
resource "aws_lambda_permission" "url" {
  #checkov:skip=CKV_AWS_301:only where url_auth is NONE, which says just that; the API key is checked by ask
  #checkov:skip=CKV_AWS_364:as above
  count = var.url_auth == "NONE" ? 1 : 0

  statement_id           = "AnyoneMayUseTheUrl"
  action                 = "lambda:InvokeFunctionUrl"
  function_name          = aws_lambda_function.this["ask"].function_name
  qualifier              = local.aliases["ask"].name
  principal              = "*"
  function_url_auth_type = "NONE"
}

resource "aws_lambda_permission" "url_invoke" {
  #checkov:skip=CKV_AWS_301:only where url_auth is NONE, which says just that; the API key is checked by ask
  #checkov:skip=CKV_AWS_364:as above
  count = var.url_auth == "NONE" ? 1 : 0

  statement_id  = "AnyoneMayAsk"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["ask"].function_name
  qualifier     = local.aliases["ask"].name
  principal     = "*"
}

# ── watch: calls of its timers are asynchronous ──────────────────────────────────────────────────────────────────

resource "aws_lambda_function_event_invoke_config" "watch" {
  function_name                = aws_lambda_function.this["watch"].function_name
  qualifier                    = local.aliases["watch"].name
  maximum_event_age_in_seconds = 3600
  maximum_retry_attempts       = 2

  destination_config {
    on_failure {
      destination = aws_sqs_queue.dead_letters.arn
    }
  }
}

# ── work: a queue ────────────────────────────────────────────────────────────────────────────────────────────────

resource "aws_lambda_event_source_mapping" "work" {
  event_source_arn        = aws_sqs_queue.jobs.arn
  function_name           = local.aliases["work"].arn
  batch_size              = 1
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = local.tags

  scaling_config {
    maximum_concurrency = var.concurrency.work
  }
}
