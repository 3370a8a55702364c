output "bucket" {
  description = "Code, project and answers of asynchronous questions."
  value       = google_storage_bucket.this.name
}

output "canary" {
  description = "For each function its newest revision and what share of its calls it gets; the rest stays with `stable`."
  value = {
    for name, one in google_cloud_run_v2_service.this : name => {
      percent  = local.newest_share[name]
      revision = local.newest[name]
      service  = one.name
      stable   = lookup(var.canary.stable, name, local.newest[name]) == local.newest[name] ? null : var.canary.stable[name]
    }
  }
}

output "dead_letters" {
  description = "The subscription that keeps asynchronous questions that were given up."
  value       = google_pubsub_subscription.dead.name
}

output "function_names" {
  description = "ask, watch and work, as the console shows them."
  value       = { for name, one in google_cloud_run_v2_service.this : name => one.name }
}

output "function_url" {
  description = "Where ask answers: POST {\"sql\": ...} to /v1/query below it."
  value       = local.url["ask"]
}

output "key" {
  description = "The Cloud KMS key that wraps tenants' data keys."
  value       = local.key
}

output "log_bucket" {
  description = "Where the functions' logs are kept for log_retention_days."
  value       = local.log_bucket
}

output "secrets" {
  description = "The secrets that need a value: printf %s VALUE | gcloud secrets versions add NAME --data-file=-"
  value       = [for name in sort(local.manifest.secrets) : "${var.name}-${name}"]
}

output "service_accounts" {
  description = "The account of each function: what a source inside Google Cloud (a database, BigQuery) has to let in."
  value       = { for name in keys(local.functions) : name => google_service_account.this[name].email }
}

output "settings" {
  description = "For `omni schedule`, `omni alert` and the like on your machine: set these variables."
  value = {
    OMNI_DEPLOYMENT      = var.name
    OMNI_KEY             = local.key
    OMNI_OBJECTS         = google_storage_bucket.this.name
    OMNI_QUEUE           = local.settings.OMNI_QUEUE
    OMNI_REGION          = var.region
    OMNI_SCHEDULE_GROUP  = "projects/${var.project_id}/locations/${var.region}"
    OMNI_SCHEDULE_ROLE   = google_service_account.this["timers"].email
    OMNI_SCHEDULE_TARGET = "${local.url["watch"]}/"
    OMNI_SECRET_PREFIX   = local.secret_prefix
    OMNI_STORE_TABLE     = local.store_table
  }
}

output "watch_url" {
  description = "What to call from a Cloud Scheduler job of your own, as the service account in settings, with {\"alert\": NAME}."
  value       = "${local.url["watch"]}/"
}
