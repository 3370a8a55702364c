# What the manifest says, names, and what every other file shares.

locals {
  manifest      = jsondecode(file(var.manifest))
  folder        = dirname(var.manifest)
  labels        = merge(var.labels, { deployment = var.name })
  secret_prefix = "projects/${var.project_id}/secrets/${var.name}-"
  # Rights move at once and calls do not: while a new revision takes its first calls, the one before it reads its own.
  readable    = setunion(local.manifest.secrets, var.previous_secrets)
  role_prefix = replace(var.name, "-", "_")

  # What has no value yet and no default: the first call that needs it would fail.
  unset = setsubtract(toset(local.manifest.environment), toset(keys(var.environment)))

  apis = concat(var.budget == null ? [] : ["billingbudgets"], [
    "artifactregistry", "cloudbuild", "cloudkms", "cloudscheduler", "firestore", "iam", "logging", "monitoring",
    "pubsub", "run", "secretmanager", "storage",
  ])
}

resource "google_project_service" "this" {
  for_each = var.enable_apis ? toset(local.apis) : toset([])

  project            = var.project_id
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false # another deployment of the project may need it
}

data "google_project" "this" {
  project_id = var.project_id
}
