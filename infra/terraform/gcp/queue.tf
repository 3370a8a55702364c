# Asynchronous questions: a topic, a subscription that pushes to work, and a topic for what work gave up.

locals {
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic" "jobs" {
  #checkov:skip=CKV_GCP_83:a message holds the id of a job and nothing else
  project = var.project_id
  name    = "${var.name}-jobs"
  labels  = local.labels

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic" "dead" {
  #checkov:skip=CKV_GCP_83:as above
  project = var.project_id
  name    = "${var.name}-jobs-dead"
  labels  = local.labels

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this]
}

resource "google_pubsub_subscription" "work" {
  project                    = var.project_id
  name                       = "${var.name}-work"
  topic                      = google_pubsub_topic.jobs.id
  ack_deadline_seconds       = var.work_timeout_s
  message_retention_duration = "86400s"
  labels                     = local.labels

  push_config {
    push_endpoint = "${local.url["work"]}/"

    oidc_token {
      service_account_email = google_service_account.this["push"].email
      audience              = local.url["work"]
    }
  }
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead.id
    max_delivery_attempts = 5
  }
  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "300s"
  }
  expiration_policy {
    ttl = "" # never
  }
}

# Keeps the dead letters, to be looked at and counted by an alarm.
resource "google_pubsub_subscription" "dead" {
  project                    = var.project_id
  name                       = "${var.name}-dead"
  topic                      = google_pubsub_topic.dead.id
  ack_deadline_seconds       = 60
  message_retention_duration = "1209600s"
  labels                     = local.labels

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub itself moves a message to the dead letters, and signs its calls as the push account.
resource "google_pubsub_topic_iam_member" "dead" {
  project = var.project_id
  topic   = google_pubsub_topic.dead.name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead" {
  project      = var.project_id
  subscription = google_pubsub_subscription.work.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

resource "google_service_account_iam_member" "push" {
  service_account_id = google_service_account.this["push"].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = local.pubsub_agent
}
