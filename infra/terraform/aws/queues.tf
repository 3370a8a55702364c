# Asynchronous questions, and what was given up: of the jobs, and of the timers and runs of watch.

locals {
  # A queue's own ARN stands in its policy, so it has to be known before the queue is made.
  queue_arns = {
    for name in ["dead-letters", "jobs", "jobs-dead-letters"] :
    name => "arn:${local.partition}:sqs:${local.region}:${local.account}:${var.name}-${name}"
  }
}

data "aws_iam_policy_document" "queue" {
  for_each = local.queue_arns

  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [each.value]
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

resource "aws_sqs_queue" "jobs" {
  name                       = "${var.name}-jobs"
  visibility_timeout_seconds = var.work_timeout_s * 6
  message_retention_seconds  = 345600
  kms_master_key_id          = local.key_arn
  policy                     = data.aws_iam_policy_document.queue["jobs"].json
  tags                       = local.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.jobs_dead_letters.arn
    maxReceiveCount     = 5
  })

  depends_on = [aws_scheduler_schedule_group.this]
}

resource "aws_sqs_queue" "jobs_dead_letters" {
  name                      = "${var.name}-jobs-dead-letters"
  message_retention_seconds = 1209600
  kms_master_key_id         = local.key_arn
  policy                    = data.aws_iam_policy_document.queue["jobs-dead-letters"].json
  tags                      = local.tags

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.queue_arns["jobs"]]
  })

  depends_on = [aws_scheduler_schedule_group.this]
}

# The name is fixed: the timers that `omni schedule` makes name it as well.
resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600
  kms_master_key_id         = local.key_arn
  policy                    = data.aws_iam_policy_document.queue["dead-letters"].json
  tags                      = local.tags

  depends_on = [aws_scheduler_schedule_group.this]
}
