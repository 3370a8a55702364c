# Everything that can be said, for a company that keeps its data in Europe and its functions behind IAM.

terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.31, < 9"
    }
  }
}

provider "google" {
  project               = var.project_id
  region                = var.region
  user_project_override = true
  billing_project       = var.project_id
}

module "omnisentinel" {
  source = "../.."

  name             = "omni-prod"
  project_id       = var.project_id
  region           = var.region
  residency        = "europe-"
  manifest         = var.manifest
  previous_secrets = var.previous_secrets
  canary           = var.canary
  labels           = { team = "data" }

  ask_invokers = ["group:analysts@example.com", "serviceAccount:dashboard@${var.project_id}.iam.gserviceaccount.com"]
  environment  = { CRM_URL = "https://crm.example.com", SMTP_HOST = "smtp.example.com" }
  settings     = { threads = "2", log_level = "DEBUG" }

  memory_mb      = 2048
  concurrency    = 4
  max_instances  = { ask = 20, watch = 50, work = 10 }
  work_timeout_s = 600
  vpc = {
    network    = "projects/${var.project_id}/global/networks/data"
    subnetwork = "projects/${var.project_id}/regions/${var.region}/subnetworks/functions"
  }

  alarm_emails       = ["ops@example.com"]
  alarms             = { ask_p99_ms = 5000, missed_sweep_minutes = 20 }
  log_retention_days = 90
  tracing            = true
  budget             = { amount = 50, billing_account = "012345-6789AB-CDEF01", currency = "EUR" }

}
