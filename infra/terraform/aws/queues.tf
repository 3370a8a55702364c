# Asynchronous questions, and what was given up: of the jobs, and of the timers and runs of watch.

locals {
  work_tries = 5
}

resource "aws_sqs_queue" "jobs" {
  name                       = "${var.name}-jobs"
  visibility_timeout_seconds = var.work_timeout_s * 6
  message_retention_seconds  = 345600
  kms_master_key_id          = local.key_arn
  tags                       = local.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.jobs_dead_letters.arn
    maxReceiveCount     = local.work_tries
  })
}

resource "aws_sqs_queue" "jobs_dead_letters" {
  name                      = "${var.name}-jobs-dead-letters"
  message_retention_seconds = 1209600
  kms_master_key_id         = local.key_arn
  tags                      = local.tags
}

# The name is fixed: the timers that `omni schedule` makes name it as well.
resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600
  kms_master_key_id         = local.key_arn
  tags                      = local.tags
}

resource "aws_sqs_queue_redrive_allow_policy" "jobs_dead_letters" {
  queue_url = aws_sqs_queue.jobs_dead_letters.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.jobs.arn]
  })
}

data "aws_iam_policy_document" "queue" {
  for_each = local.queues

  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [each.value.arn]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "tls" {
  for_each = local.queues

  queue_url = each.value.id
  policy    = data.aws_iam_policy_document.queue[each.key].json
}

locals {
  queues = {
    dead_letters      = aws_sqs_queue.dead_letters
    jobs              = aws_sqs_queue.jobs
    jobs_dead_letters = aws_sqs_queue.jobs_dead_letters
  }
}
