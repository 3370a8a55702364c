# Alarms, the logs' own bucket, the budget.

locals {
  service = { for name in keys(local.functions) : name => "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"${google_cloud_run_v2_service.this[name].name}\"" }

  # name -> a threshold on a metric: over it for `duration`
  thresholds = merge(
    {
      for name in keys(local.functions) : "errors-${name}" => {
        text     = "${name} failed: answers of 5xx. Its log says which and why."
        filter   = "${local.service[name]} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
        aligner  = "ALIGN_DELTA"
        reducer  = "REDUCE_SUM"
        over     = var.alarms.errors - 1
        severity = "ERROR"
      }
    },
    {
      for name in keys(local.functions) : "throttled-${name}" => {
        text     = "${name} turned calls away with 429: max_instances.${name} is reached, or a source's quota."
        filter   = "${local.service[name]} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code = \"429\""
        aligner  = "ALIGN_DELTA"
        reducer  = "REDUCE_SUM"
        over     = 0
        severity = "WARNING"
      }
    },
    {
      "latency-ask" = {
        text     = "ask is slow: its 99th percentile is over the threshold."
        filter   = "${local.service["ask"]} AND metric.type = \"run.googleapis.com/request_latencies\""
        aligner  = "ALIGN_PERCENTILE_99"
        reducer  = "REDUCE_MAX"
        over     = var.alarms.ask_p99_ms
        severity = "WARNING"
      }
      "latency-watch" = {
        text     = "watch is slow: its 95th percentile is over the threshold."
        filter   = "${local.service["watch"]} AND metric.type = \"run.googleapis.com/request_latencies\""
        aligner  = "ALIGN_PERCENTILE_95"
        reducer  = "REDUCE_MAX"
        over     = var.alarms.watch_p95_ms
        severity = "WARNING"
      }
      "dead-letters" = {
        text     = "An asynchronous question was given up after five attempts. Look at it: gcloud pubsub subscriptions pull ${google_pubsub_subscription.dead.name}"
        filter   = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"${google_pubsub_subscription.dead.name}\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
        aligner  = "ALIGN_MAX"
        reducer  = "REDUCE_SUM"
        over     = 0
        severity = "ERROR"
      }
    },
  )
  log_bucket = "projects/${var.project_id}/locations/${var.region}/buckets/${google_logging_project_bucket_config.this.bucket_id}"
  channels   = [for one in google_monitoring_notification_channel.email : one.id]
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alarm_emails

  project      = var.project_id
  display_name = "OmniSentinel ${var.name}: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }
  user_labels  = local.labels

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each = local.thresholds

  project               = var.project_id
  display_name          = "OmniSentinel ${var.name}: ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = each.key

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.over
      duration        = "0s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
      }
    }
  }

  documentation {
    content   = each.value.text
    mime_type = "text/markdown"
  }
  alert_strategy {
    auto_close = "1800s"
  }
}

# The sweep runs every minute: where no attempt of its timer has succeeded for a while, nothing is being watched.
resource "google_logging_metric" "sweeps" {
  project = var.project_id
  name    = "${var.name}-sweeps"
  filter  = "resource.type = \"cloud_scheduler_job\" AND resource.labels.job_id = \"${var.name}--sweep\" AND resource.labels.location = \"${var.region}\" AND jsonPayload.\"@type\" = \"type.googleapis.com/google.cloud.scheduler.logging.AttemptFinished\" AND httpRequest.status = 200"

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "missed_sweeps" {
  project               = var.project_id
  display_name          = "OmniSentinel ${var.name}: missed-sweeps"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.channels
  user_labels           = local.labels

  conditions {
    display_name = "no sweep has succeeded"

    condition_absent {
      filter   = "resource.type = \"cloud_scheduler_job\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.sweeps.name}\""
      duration = "${var.alarms.missed_sweep_minutes * 60}s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = "No sweep of ${var.name} has succeeded for ${var.alarms.missed_sweep_minutes} minutes: alerts may not run and messages may wait. Look at the timer ${var.name}--sweep and at the log of ${var.name}-watch."
    mime_type = "text/markdown"
  }

  # No auto_close: an incident is closed after so long without data, which is just what this one is about. Google's own is
  # seven days.

  # Last: Monitoring may not know a metric of logs for up to ten minutes after it was made, and refuses a policy on it.
  depends_on = [google_cloud_run_v2_service.this, google_cloud_scheduler_job.timer]
}

# ── logs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

resource "google_logging_project_bucket_config" "this" {
  project        = var.project_id
  location       = var.region
  bucket_id      = var.name
  description    = "Logs of OmniSentinel ${var.name}"
  retention_days = var.log_retention_days

  depends_on = [google_project_service.this]
}

resource "google_logging_project_sink" "this" {
  project                = var.project_id
  name                   = var.name
  destination            = "logging.googleapis.com/${local.log_bucket}"
  filter                 = join(" OR ", [for name in sort(keys(local.functions)) : "(${local.service[name]})"])
  unique_writer_identity = true
}

# ── budget ───────────────────────────────────────────────────────────────────────────────────────────────────────────

resource "google_billing_budget" "this" {
  for_each = { for one in var.budget[*] : "this" => one }

  billing_account = each.value.billing_account
  display_name    = "OmniSentinel ${var.name}"

  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
    labels   = { deployment = var.name }
  }
  amount {
    specified_amount {
      currency_code = each.value.currency
      units         = tostring(each.value.amount)
    }
  }

  threshold_rules {
    threshold_percent = 0.8
  }
  threshold_rules {
    threshold_percent = 1.0
  }

  dynamic "all_updates_rule" {
    for_each = length(local.channels) > 0 ? ["channels"] : []

    content {
      monitoring_notification_channels = slice(local.channels, 0, min(5, length(local.channels)))
    }
  }

  depends_on = [google_project_service.this]
}
