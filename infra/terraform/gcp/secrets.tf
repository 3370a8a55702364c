# The secrets that the project refers to, empty, by their names. Their values are added outside of Terraform, so that none
# is in its state: printf %s VALUE | gcloud secrets versions add NAME --data-file=-
#
# gcloud makes those that are not there, as it makes the image. As resources of Terraform's they would go when the project
# stops referring to them, with every value that somebody entered: on no cloud does a change of YAML take a secret away.

resource "terraform_data" "secret" {
  for_each = local.readable

  triggers_replace = ["${var.name}-${each.key}", var.project_id]

  provisioner "local-exec" {
    command = "gcloud secrets describe \"$SECRET\" --project \"$PROJECT\" >/dev/null 2>&1 || gcloud secrets create \"$SECRET\" --project \"$PROJECT\" --replication-policy user-managed --locations \"$REGION\" --labels \"$LABELS\" --quiet"

    environment = {
      LABELS  = join(",", [for name, value in local.labels : "${name}=${value}"])
      PROJECT = var.project_id
      REGION  = var.region
      SECRET  = "${var.name}-${each.key}"
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
