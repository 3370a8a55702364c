# The smallest module that the tests of the stub itself use.
terraform {
  required_version = ">= 1.9"
  required_providers {
    google = { source = "hashicorp/google", version = ">= 7.31, < 9" }
  }
}

variable "name" {
  type = string
}

resource "google_service_account" "this" {
  account_id = var.name
}

resource "google_cloud_scheduler_job" "this" {
  name      = var.name
  schedule  = "0 9 * * 1-5"
  time_zone = "Europe/Berlin"
  http_target {
    http_method = "POST"
    uri         = "https://example.invalid/"
    oidc_token {
      service_account_email = google_service_account.this.email
    }
  }
}

output "email" {
  value = google_service_account.this.email
}
