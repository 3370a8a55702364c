# One Cloud Scheduler job for each timer of the manifest: the alerts' and the sweep's. Names, descriptions and bodies are
# what `omni schedule` would write, so that neither undoes the other's work.

resource "google_cloud_scheduler_job" "timer" {
  # Not `? :`, which makes one type of both its sides, and of the sweep's true the text "true".
  for_each = { for name, timer in local.manifest.timers : name => timer if var.manage_timers }

  project          = var.project_id
  region           = var.region
  name             = "${var.name}--${each.value.id}"
  description      = jsonencode({ cron = each.value.cron, deployment = var.name, name = each.key, timezone = each.value.timezone })
  schedule         = try(each.value.native.schedule, "")
  time_zone        = each.value.timezone
  attempt_deadline = "1800s" # the function's own timeout ends it first

  http_target {
    http_method = "POST"
    uri         = "${local.url["watch"]}/"
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode(jsonencode(each.value.payload))

    oidc_token {
      service_account_email = google_service_account.this["timers"].email
      audience              = local.url["watch"]
    }
  }

  retry_config {
    retry_count          = 3
    min_backoff_duration = "10s"
    max_backoff_duration = "60s"
  }

  lifecycle {
    precondition {
      condition     = can(regex("^\\S+ \\S+ \\S+ \\S+ \\S+$", each.value.native.schedule))
      error_message = "The schedule of alert ${each.key} (${each.value.cron}) is not expressed for Cloud Scheduler. Build the manifest anew: omni bundle gcp --parts."
    }
  }
}
