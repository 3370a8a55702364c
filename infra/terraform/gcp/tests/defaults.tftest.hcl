# terraform test: what a plan holds when little is said. More is asked in tests/terraform/gcp of the repository.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
  mock_resource "google_service_account" {
    defaults = {
      email  = "omnisentinel-x@acme-alerts.iam.gserviceaccount.com"
      id     = "projects/acme-alerts/serviceAccounts/omnisentinel-x@acme-alerts.iam.gserviceaccount.com"
      member = "serviceAccount:omnisentinel-x@acme-alerts.iam.gserviceaccount.com"
      name   = "projects/acme-alerts/serviceAccounts/omnisentinel-x@acme-alerts.iam.gserviceaccount.com"
    }
  }
  mock_resource "google_cloud_run_v2_service" {
    defaults = { uri = "https://omnisentinel-x-abc.a.run.app" }
  }
}

variables {
  project_id = "acme-alerts"
  region     = "europe-west3"
  manifest   = "tests/manifest/deployment.json"
}

run "defaults" {
  command = plan

  assert {
    condition     = google_storage_bucket.this.public_access_prevention == "enforced"
    error_message = "The bucket has to be closed to the public."
  }
  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.ask) == 0
    error_message = "Nobody may call ask unless it is said."
  }
  assert {
    condition     = google_cloud_scheduler_job.timer["sweep"].schedule == "* * * * *"
    error_message = "The sweep runs every minute."
  }
  assert {
    condition     = google_firestore_database.this.location_id == "europe-west3"
    error_message = "State stays in the region."
  }
}

run "elsewhere" {
  command = plan

  variables {
    residency = "us-"
  }

  expect_failures = [var.residency]
}

run "two_dashes" {
  command = plan

  variables {
    name = "omni--prod"
  }

  expect_failures = [var.name]
}
