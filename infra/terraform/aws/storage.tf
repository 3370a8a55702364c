# The state of alerts, jobs and the audit.
resource "aws_dynamodb_table" "state" {
  name                        = var.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = !var.force_destroy
  tags                        = local.tags

  attribute {
    name = "pk"
    type = "S"
  }
  attribute {
    name = "sk"
    type = "S"
  }
  ttl {
    attribute_name = "ttl"
    enabled        = true
  }
  point_in_time_recovery {
    enabled = true
  }
  server_side_encryption {
    enabled     = true
    kms_key_arn = local.key_arn
  }
}

# Code and project under code/ and project/; answers of jobs under o/ and h/, tagged with the days they may stay.
resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:an access log needs a bucket of its own; the audit in the state table tells who asked what
  #checkov:skip=CKV_AWS_21:answers have to be gone when they expire, and zips are built again from the same input
  #checkov:skip=CKV_AWS_144:answers live for a day and zips are rebuilt; residency forbids a copy elsewhere
  #checkov:skip=CKV2_AWS_62:nothing waits for an object to appear
  bucket        = "${var.name}-${local.account}-${local.region}"
  force_destroy = var.force_destroy
  tags          = local.tags

  depends_on = [aws_scheduler_schedule_group.this]
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = local.key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  #checkov:skip=CKV_AWS_300:the first rule does it, which checkov does not see beside dynamic ones
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "unfinished"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  dynamic "rule" {
    for_each = [1, 2, 7, 30, 90, 365]
    content {
      id     = "expired-${rule.value}"
      status = "Enabled"
      filter {
        tag {
          key   = "omnisentinel-days"
          value = tostring(rule.value)
        }
      }
      expiration {
        days = rule.value
      }
    }
  }
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]
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

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = data.aws_iam_policy_document.bucket.json

  depends_on = [aws_s3_bucket_public_access_block.this]
}

# A zip's name carries the digest of its content, so a change of YAML uploads the project and leaves the code alone.
resource "aws_s3_object" "code" {
  bucket      = aws_s3_bucket.this.id
  key         = "code/${local.manifest.code.file}"
  source      = "${local.manifest_folder}/${local.manifest.code.file}"
  source_hash = local.manifest.code.sha256

  lifecycle {
    precondition {
      condition     = try(filesha256("${local.manifest_folder}/${local.manifest.code.file}"), "") == local.manifest.code.sha256
      error_message = "${local.manifest.code.file} is not beside the manifest, or was changed. Build both anew: omni bundle aws --parts."
    }
  }

  depends_on = [aws_s3_bucket_server_side_encryption_configuration.this]
}

resource "aws_s3_object" "project" {
  bucket      = aws_s3_bucket.this.id
  key         = "project/${local.manifest.project.file}"
  source      = "${local.manifest_folder}/${local.manifest.project.file}"
  source_hash = local.manifest.project.sha256

  lifecycle {
    precondition {
      condition     = try(filesha256("${local.manifest_folder}/${local.manifest.project.file}"), "") == local.manifest.project.sha256
      error_message = "${local.manifest.project.file} is not beside the manifest, or was changed. Build both anew: omni bundle aws --parts."
    }
  }

  depends_on = [aws_s3_bucket_server_side_encryption_configuration.this]
}
