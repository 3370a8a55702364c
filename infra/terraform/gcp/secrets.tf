# Empty secrets, by the names that the project refers to. Their values are added outside of Terraform, so that none is in
# its state: printf %s VALUE | gcloud secrets versions add NAME --data-file=-

resource "google_secret_manager_secret" "this" {
  for_each = toset(local.manifest.secrets)

  project   = var.project_id
  secret_id = "${var.name}-${each.key}"
  labels    = local.labels

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  lifecycle {
    precondition {
      condition     = can(regex("^[A-Za-z0-9_-]{1,200}$", each.key))
      error_message = "The secret ${each.key} cannot be in Secret Manager: its names have letters, digits, - and _."
    }
  }

  depends_on = [google_project_service.this]
}
