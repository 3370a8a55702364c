# The secrets that the project refers to, empty, by their names. Their values are added outside of Terraform, so that none
# is in its state: printf %s VALUE | gcloud secrets versions add NAME --data-file=-
#
# gcloud makes those that are not there, as it makes the image. As resources of Terraform's they would go when the project
# stops referring to them, with every value that somebody entered: on no cloud does a change of YAML take a secret away.

resource "terraform_data" "secret" {
  for_each = local.readable

  triggers_replace = ["${var.name}-${each.key}", var.project_id]

  provisioner "local-exec" {
    # A name that is there already and carries another deployment's label is not ours to share: omni with a secret prod-key
    # and omni-prod with a secret key mean two.
    command = <<-EOT
      if OWNER=$(gcloud secrets describe "$SECRET" --project "$PROJECT" --format "value(labels.deployment)" 2>/dev/null); then
        [ -z "$OWNER" ] || [ "$OWNER" = "$DEPLOYMENT" ] || { echo "The secret $SECRET is the deployment $OWNER's: give one of the two another name." >&2; exit 1; }
      else
        gcloud secrets create "$SECRET" --project "$PROJECT" --replication-policy user-managed --locations "$REGION" --labels "$LABELS" --quiet
      fi
    EOT

    environment = {
      DEPLOYMENT = var.name
      LABELS     = join(",", [for name, value in local.labels : "${name}=${value}"])
      PROJECT    = var.project_id
      REGION     = var.region
      SECRET     = "${var.name}-${each.key}"
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
