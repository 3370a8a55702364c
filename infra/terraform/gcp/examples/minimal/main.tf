# The least that runs: a project's alerts on their schedules, and ask under a URL that takes API keys.
# `omni deploy gcp` copies this file to deploy/gcp/ of the project, where it is yours to change.

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

  project_id       = var.project_id
  region           = var.region
  manifest         = var.manifest
  previous_secrets = var.previous_secrets
  canary           = var.canary
  ask_invokers     = ["allUsers"] # anyone may connect; every request needs an API key of the project

  # environment  = { CRM_URL = "https://crm.example.com" }   what the project refers to as ${CRM_URL}
  # alarm_emails = ["ops@example.com"]
}
