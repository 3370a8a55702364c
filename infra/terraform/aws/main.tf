# What the other files share: the manifest, names and tags.
#
#   storage.tf    state table, bucket        functions.tf  ask, watch, work: versions, aliases, URL, queue mapping
#   keys.tf       the tenant's key           schedules.tf  one schedule per timer of the manifest
#   queues.tf     jobs, dead letters         iam.tf        one role per function and one for the timers
#   alarms.tf     alarms, topic, budget      canary.tf     CodeDeploy: 5 %, then all or back

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

data "aws_region" "current" {
  lifecycle {
    postcondition {
      condition     = var.region == null || var.region == self.id
      error_message = "This deployment has to stay in ${coalesce(var.region, self.id)}, and the provider is set to ${self.id}."
    }
  }
}

locals {
  manifest        = jsondecode(file(var.manifest))
  manifest_folder = dirname(var.manifest)

  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.id

  # Rights move at once and calls do not: while a new version takes its first calls, the one before it reads its own.
  readable      = setunion(local.manifest.secrets, var.previous_secrets)
  secret_prefix = coalesce(var.secret_prefix, "${var.name}/")
  key_arn       = var.kms_key_arn == null ? aws_kms_key.this[0].arn : var.kms_key_arn
  tags          = merge(var.tags, { deployment = var.name })

  # Roles and budgets belong to the account, not to a region: the region in their names keeps twins apart.
  global_name = "${var.name}-${local.region}"
}
