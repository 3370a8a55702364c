# Who may do what. A service account for each function and each caller; roles of a few permissions, on single resources.
# No basic role, no role of the whole project but for Firestore, which is bound to one database by a condition.

locals {
  accounts = {
    ask    = "answers questions"
    build  = "builds the functions"
    push   = "Pub/Sub, when it calls work"
    timers = "Cloud Scheduler, when it calls watch"
    watch  = "watches"
    work   = "answers asynchronous questions"
  }
  roles = {
    answers = {
      title       = "writes answers"
      permissions = ["storage.objects.create", "storage.objects.delete", "storage.objects.get"]
    }
    reader = {
      title       = "reads objects"
      permissions = ["storage.objects.get"]
    }
    names = {
      title       = "tells an absent object from a forbidden one"
      permissions = ["storage.objects.list"]
    }
    secrets = {
      title       = "reads secrets, and finds the newest version that is enabled"
      permissions = ["secretmanager.versions.access", "secretmanager.versions.list"]
    }
    state = {
      title = "reads and writes state"
      permissions = [
        "datastore.entities.create", "datastore.entities.delete", "datastore.entities.get", "datastore.entities.list",
        "datastore.entities.update",
      ]
    }
  }
  # What a role is bound by; known before it is made.
  role   = { for name, one in google_project_iam_custom_role.this : name => "projects/${var.project_id}/roles/${one.role_id}" }
  bucket = "projects/_/buckets/${google_storage_bucket.this.name}/objects"
}

resource "google_service_account" "this" {
  for_each = local.accounts

  project      = var.project_id
  account_id   = "${var.name}-${each.key}"
  display_name = "OmniSentinel ${var.name}: ${each.value}"

  depends_on = [google_project_service.this]
}

resource "google_project_iam_custom_role" "this" {
  for_each = local.roles

  project     = var.project_id
  role_id     = "${local.role_prefix}_${each.key}"
  title       = "OmniSentinel ${var.name}: ${each.value.title}"
  permissions = each.value.permissions
}

# ── functions ────────────────────────────────────────────────────────────────────────────────────────────────────────

resource "google_project_iam_member" "state" {
  for_each = toset(keys(local.functions))

  project = var.project_id
  role    = local.role["state"]
  member  = google_service_account.this[each.key].member

  condition {
    title      = "${var.name} only"
    expression = "resource.name == \"projects/${var.project_id}/databases/${google_firestore_database.this.name}\""
  }
}

resource "google_secret_manager_secret_iam_member" "function" {
  for_each = { for pair in setproduct(keys(local.functions), local.readable) : join("/", pair) => pair }

  project   = var.project_id
  secret_id = terraform_data.secret[each.value[1]].triggers_replace[0]
  role      = local.role["secrets"]
  member    = google_service_account.this[each.value[0]].member
}

resource "google_storage_bucket_iam_member" "project" {
  for_each = toset(keys(local.functions))

  bucket = google_storage_bucket.this.name
  role   = local.role["reader"]
  member = google_service_account.this[each.key].member

  condition {
    title      = "the project"
    expression = "resource.name.startsWith(\"${local.bucket}/projects/\")"
  }
}

resource "google_storage_bucket_iam_member" "answers" {
  for_each = { ask = "reader", work = "answers" }

  bucket = google_storage_bucket.this.name
  role   = local.role[each.value]
  member = google_service_account.this[each.key].member

  condition {
    title      = "answers"
    expression = "resource.name.startsWith(\"${local.bucket}/job/\")"
  }
}

resource "google_storage_bucket_iam_member" "names" {
  for_each = toset(["ask", "work"])

  bucket = google_storage_bucket.this.name
  role   = local.role["names"]
  member = google_service_account.this[each.key].member
}

# ask hands jobs over; the sweep, which is watch, sends again what was forgotten.
resource "google_pubsub_topic_iam_member" "jobs" {
  for_each = toset(["ask", "watch"])

  project = var.project_id
  topic   = google_pubsub_topic.jobs.name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.this[each.key].member
}

resource "google_kms_crypto_key_iam_member" "function" {
  for_each = toset(["ask", "work"])

  crypto_key_id = replace(local.key, "{tenant}", "tenants")
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = google_service_account.this[each.key].member
}

# ── who calls them ───────────────────────────────────────────────────────────────────────────────────────────────────

resource "google_cloud_run_v2_service_iam_member" "ask" {
  for_each = var.ask_invokers

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.this["ask"].name
  role     = "roles/run.invoker"
  member   = each.key
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  for_each = { watch = "timers", work = "push" }

  project  = var.project_id
  location = var.region
  name     = google_cloud_run_v2_service.this[each.key].name
  role     = "roles/run.invoker"
  member   = google_service_account.this[each.value].member
}

# ── the build ────────────────────────────────────────────────────────────────────────────────────────────────────────

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.this.name
  role   = local.role["reader"]
  member = google_service_account.this["build"].member

  condition {
    title      = "the code"
    expression = "resource.name.startsWith(\"${local.bucket}/code/\")"
  }
}

resource "google_artifact_registry_repository_iam_member" "build" {
  project    = var.project_id
  location   = var.region
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.this["build"].member
}

resource "google_project_iam_member" "build" {
  project = var.project_id
  role    = "roles/logging.logWriter" # of the build's own log
  member  = google_service_account.this["build"].member
}
