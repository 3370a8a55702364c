# State in a Firestore database of its own; code, project and answers in one bucket.

resource "google_firestore_database" "this" {
  project                           = var.project_id
  name                              = var.name
  location_id                       = var.region
  type                              = "FIRESTORE_NATIVE"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = var.deletion_protection ? "ABANDON" : "DELETE"

  depends_on = [google_project_service.this]
}

# Firestore deletes a document some time after this field's moment. No index: its values rise, and would crowd one.
resource "google_firestore_field" "ttl" {
  project    = var.project_id
  database   = google_firestore_database.this.name
  collection = local.collection
  field      = "ttl"

  ttl_config {}
  index_config {}
}

# Only `id` is ever asked for. An index of a body would double what it costs to keep, and take it down at 1,500 bytes.
resource "google_firestore_field" "unindexed" {
  for_each = toset(["body", "expires", "nonce"])

  project    = var.project_id
  database   = google_firestore_database.this.name
  collection = local.collection
  field      = each.key

  index_config {}
}

locals {
  collection  = "state"
  store_table = "projects/${var.project_id}/databases/${google_firestore_database.this.name}/documents/${local.collection}"
}

resource "google_storage_bucket" "this" {
  #checkov:skip=CKV_GCP_62:access is in Cloud Audit Logs, where an organisation switches data access on for all buckets
  #checkov:skip=CKV_GCP_78:zips are named by their digest and answers expire: there is no earlier version to go back to
  project                     = var.project_id
  name                        = "${var.name}-${data.google_project.this.number}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection
  labels                      = local.labels

  # An answer's custom time is when it expires; readers do not see it after that, this removes its bytes.
  lifecycle_rule {
    condition {
      days_since_custom_time = 1
      matches_prefix         = ["job/"]
    }
    action {
      type = "Delete"
    }
  }
  # Where a crash left one without.
  lifecycle_rule {
    condition {
      age            = 30
      matches_prefix = ["job/"]
    }
    action {
      type = "Delete"
    }
  }
  # gcloud's copy of the code, of which nothing is read after its build.
  lifecycle_rule {
    condition {
      age            = 1
      matches_prefix = ["code/staging/"]
    }
    action {
      type = "Delete"
    }
  }
  lifecycle_rule {
    condition {
      age = 7
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_storage_bucket_object" "code" {
  bucket = google_storage_bucket.this.name
  name   = "code/${local.manifest.code.file}"
  source = "${local.folder}/${local.manifest.code.file}"

  deletion_policy = "ABANDON"

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = try(filesha256("${local.folder}/${local.manifest.code.file}"), "") == local.manifest.code.sha256
      error_message = "${local.manifest.code.file} is not beside the manifest, or was changed. Build both anew: omni bundle gcp --parts."
    }
  }
}

resource "google_storage_bucket_object" "project" {
  bucket = google_storage_bucket.this.name
  name   = "projects/${local.manifest.project.file}"
  source = "${local.folder}/${local.manifest.project.file}"

  # An earlier revision still reads its own when it starts: while it has calls, and when it gets them back.
  deletion_policy = "ABANDON"

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = try(filesha256("${local.folder}/${local.manifest.project.file}"), "") == local.manifest.project.sha256
      error_message = "${local.manifest.project.file} is not beside the manifest, or was changed. Build both anew: omni bundle gcp --parts."
    }
  }
}
