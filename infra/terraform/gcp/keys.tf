# The key that wraps tenants' data keys, unless there is one already. A key ring cannot be deleted, ever.

locals {
  key = var.key != null ? var.key : "projects/${var.project_id}/locations/${var.region}/keyRings/${google_kms_key_ring.this[0].name}/cryptoKeys/${google_kms_crypto_key.this[0].name}"
}

resource "google_kms_key_ring" "this" {
  count = var.key == null ? 1 : 0

  project  = var.project_id
  name     = var.name
  location = var.region

  depends_on = [google_project_service.this]
}

resource "google_kms_crypto_key" "this" {
  count = var.key == null ? 1 : 0

  #checkov:skip=CKV_GCP_82:a lifecycle block cannot follow a variable; destroying a version waits 30 days, and can be undone
  name                       = "tenants"
  key_ring                   = google_kms_key_ring.this[0].id
  purpose                    = "ENCRYPT_DECRYPT"
  rotation_period            = "7776000s" # 90 days; older versions go on to open what they sealed
  destroy_scheduled_duration = "2592000s"
  labels                     = local.labels
}
