# One role for each function, with the calls that its ports make and no others: see tests/terraform/aws/test_iam.py.

locals {
  # Secrets Manager adds six characters to the name in the ARN.
  secret_arns = [for name in sort(local.readable) : "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${local.secret_prefix}${name}-??????"]
}

data "aws_iam_policy_document" "assume" {
  for_each = toset(["codedeploy", "lambda", "scheduler"])

  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
    dynamic "condition" {
      for_each = each.key == "scheduler" ? [local.account] : []
      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}

resource "aws_iam_role" "function" {
  for_each = local.functions

  name               = "${local.global_name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.assume["lambda"].json
  tags               = local.tags
}

resource "aws_iam_role_policy" "function" {
  for_each = local.functions

  name   = each.key
  role   = aws_iam_role.function[each.key].id
  policy = data.aws_iam_policy_document.function[each.key].json

  lifecycle {
    # IAM takes 10,240 characters, of which the other statements have 2,000. The whole is known when it is too late.
    precondition {
      condition     = length(jsonencode(local.secret_arns)) <= 8000
      error_message = "The project refers to ${length(local.readable)} secrets, more than fit into the policy of a role: their ARNs may have 8,000 characters. Shorten secret_prefix and the secrets' names, or deploy two projects."
    }
  }
}

data "aws_iam_policy_document" "function" {
  for_each = local.functions

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.function[each.key].arn}:*"]
  }

  statement {
    sid       = "State"
    actions   = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"]
    resources = [aws_dynamodb_table.state.arn]
  }

  dynamic "statement" {
    for_each = length(local.readable) == 0 ? [] : [1]
    content {
      sid       = "Secrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = local.secret_arns
    }
  }

  # DynamoDB, S3, SQS and Secrets Manager use the key in the function's name, and nothing else may with this statement.
  statement {
    sid = "KeyThroughServices"
    actions = concat(
      ["kms:Decrypt", "kms:GenerateDataKey"],
      ["kms:CreateGrant", "kms:DescribeKey", "kms:Encrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo"],
    )
    resources = [local.key_arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = [for one in ["dynamodb", "s3", "secretsmanager", "sqs"] : "${one}.${local.region}.amazonaws.com"]
    }
  }

  # watch sends forgotten jobs again, work does not send any.
  dynamic "statement" {
    for_each = each.key == "work" ? [] : [1]
    content {
      sid       = "SendJobs"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.jobs.arn]
    }
  }

  dynamic "statement" {
    for_each = each.key == "work" ? [1] : []
    content {
      sid       = "ReceiveJobs"
      actions   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
      resources = [aws_sqs_queue.jobs.arn]
    }
  }

  dynamic "statement" {
    for_each = each.key == "watch" ? [1] : []
    content {
      sid       = "DeadLetters"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.dead_letters.arn]
    }
  }

  dynamic "statement" {
    for_each = each.key == "watch" ? [] : [1]
    content {
      sid       = "Answers"
      actions   = each.key == "ask" ? ["s3:GetObject"] : ["s3:PutObject", "s3:PutObjectTagging"]
      resources = ["${aws_s3_bucket.this.arn}/h/*", "${aws_s3_bucket.this.arn}/o/*"]
    }
  }

  # Without it S3 does not say "there is no such object" but "access denied".
  dynamic "statement" {
    for_each = each.key == "ask" ? [1] : []
    content {
      sid       = "AbsentAnswers"
      actions   = ["s3:ListBucket"]
      resources = [aws_s3_bucket.this.arn]
    }
  }

  # X-Ray and network interfaces have no resources to name.
  dynamic "statement" {
    for_each = var.tracing ? [1] : []
    content {
      #checkov:skip=CKV_AWS_356:X-Ray knows no resources
      sid       = "Tracing"
      actions   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = var.vpc[*]
    content {
      sid = "NetworkInterfaces"
      actions = [
        "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
      ]
      resources = ["*"]
    }
  }
}

# ── the timers ───────────────────────────────────────────────────────────────────────────────────────────────────

resource "aws_iam_role" "timers" {
  name               = "${local.global_name}-timers"
  assume_role_policy = data.aws_iam_policy_document.assume["scheduler"].json
  tags               = local.tags
}

data "aws_iam_policy_document" "timers" {
  statement {
    sid       = "Watch"
    actions   = ["lambda:InvokeFunction"]
    resources = [local.aliases["watch"].arn]
  }
  statement {
    sid       = "DeadLetters"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]
  }
  statement {
    sid       = "KeyOfDeadLetters"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [local.key_arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["sqs.${local.region}.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "timers" {
  name   = "timers"
  role   = aws_iam_role.timers.id
  policy = data.aws_iam_policy_document.timers.json
}

# ── the canary ───────────────────────────────────────────────────────────────────────────────────────────────────

resource "aws_iam_role" "codedeploy" {
  count = var.canary.enabled ? 1 : 0

  name               = "${local.global_name}-codedeploy"
  assume_role_policy = data.aws_iam_policy_document.assume["codedeploy"].json
  tags               = local.tags
}

data "aws_iam_policy_document" "codedeploy" {
  count = var.canary.enabled ? 1 : 0

  statement {
    sid     = "Aliases"
    actions = ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"]
    # IAM judges GetAlias and UpdateAlias by the function's ARN, and what concerns capacity by the alias's.
    resources = flatten([
      for name, one in local.functions : [
        for ending in ["", ":live"] : "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.name}-${name}${ending}"
      ]
    ])
  }
  statement {
    #checkov:skip=CKV_AWS_356:DescribeAlarms knows no resources
    sid       = "Alarms"
    actions   = ["cloudwatch:DescribeAlarms"]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "codedeploy" {
  count = var.canary.enabled ? 1 : 0

  name   = "codedeploy"
  role   = aws_iam_role.codedeploy[0].id
  policy = data.aws_iam_policy_document.codedeploy[0].json
}
