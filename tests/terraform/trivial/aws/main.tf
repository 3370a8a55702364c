# The smallest module that the tests of the stub itself use.
terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.100, < 7" }
  }
}

variable "name" {
  type = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,30}$", var.name))
    error_message = "name has to be 3 to 31 of a-z, 0-9 and -."
  }
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = var.name
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_lambda_function" "this" {
  function_name = var.name
  role          = aws_iam_role.this.arn
  s3_bucket     = "code"
  s3_key        = "code.zip"
  handler       = "handlers.aws.main.watch"
  runtime       = "python3.13"
  architectures = ["x86_64"]
  memory_size   = 1024
  tags          = { part = "watch" }
  tracing_config {
    mode = "PassThrough"
  }
}

resource "aws_scheduler_schedule" "this" {
  name                = var.name
  schedule_expression = "rate(5 minutes)"
  flexible_time_window {
    mode = "OFF"
  }
  target {
    arn      = aws_lambda_function.this.arn
    role_arn = aws_iam_role.this.arn
  }
}

output "arn" {
  value = aws_lambda_function.this.arn
}
