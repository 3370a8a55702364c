# The three functions: Cloud Run services of one image, which Google's buildpack for functions makes of the code zip. As
# services they have what a google_cloudfunctions2_function lacks: calls shared between two revisions.

locals {
  functions = {
    ask = {
      concurrency = var.concurrency
      ingress     = "INGRESS_TRAFFIC_ALL"
      instances   = var.max_instances.ask
      signature   = "http"
      timeout     = local.manifest.ask_timeout_s
    }
    watch = {
      concurrency = 1
      ingress     = "INGRESS_TRAFFIC_INTERNAL_ONLY" # Cloud Scheduler and Pub/Sub of this project are inside
      instances   = var.max_instances.watch
      signature   = "http"
      timeout     = local.manifest.watch_timeout_s
    }
    work = {
      concurrency = 1
      ingress     = "INGRESS_TRAFFIC_INTERNAL_ONLY"
      instances   = var.max_instances.work
      signature   = "cloudevent"
      timeout     = var.work_timeout_s
    }
  }

  # The tag says which code is in it: an image is made once for each code zip.
  image = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.this.repository_id}/functions:${substr(local.manifest.code.sha256, 0, 12)}"

  settings = merge(
    {
      OMNI_DEPLOYMENT     = var.name
      OMNI_JOB_TTL_S      = "86400"
      OMNI_KEY            = local.key
      OMNI_LOG_LEVEL      = "INFO"
      OMNI_MEMORY_LIMIT   = "${floor(var.memory_mb / 2)}MB"
      OMNI_OBJECTS        = google_storage_bucket.this.name
      OMNI_PROJECT_OBJECT = google_storage_bucket_object.project.name
      OMNI_QUEUE          = "projects/${var.project_id}/topics/${google_pubsub_topic.jobs.name}"
      OMNI_REGION         = var.region
      OMNI_SECRET_PREFIX  = local.secret_prefix
      OMNI_STORE_TABLE    = local.store_table
      OMNI_TRACING        = tostring(var.tracing)
    },
    { for name, value in var.settings : "OMNI_${upper(name)}" => value },
  )

  # What the newest revision gets; revisions are named by Cloud Run, for going back to an earlier state makes a new one.
  newest_share = { for name in keys(local.functions) : name => contains(keys(var.canary.stable), name) ? var.canary.percent : 100 }
  newest       = { for name, one in google_cloud_run_v2_service.this : name => basename(one.latest_created_revision) }

  # The audience of a caller's token is this, to the letter.
  url = { for name, one in google_cloud_run_v2_service.this : name => trimsuffix(one.uri, "/") }
}

resource "google_artifact_registry_repository" "this" {
  #checkov:skip=CKV_GCP_84:the images hold published code, which Google encrypts at rest
  project       = var.project_id
  location      = var.region
  repository_id = var.name
  format        = "DOCKER"
  labels        = local.labels

  cleanup_policies {
    id     = "newest"
    action = "KEEP"

    most_recent_versions {
      keep_count = 5
    }
  }
  cleanup_policies {
    id     = "old"
    action = "DELETE"

    condition {
      older_than = "2592000s"
    }
  }

  depends_on = [google_project_service.this]
}

# No resource of the provider builds (build_config of a service only describes a build that another tool made), so gcloud
# does, on the machine that applies. The build itself runs in Cloud Build. gcloud copies the source before it builds, also
# one that is in Cloud Storage already: without a folder of ours into gs://PROJECT_cloudbuild, which lies in the United
# States and which the build's account cannot read.
resource "terraform_data" "image" {
  triggers_replace = [local.image, var.builder]

  provisioner "local-exec" {
    command = "gcloud builds submit \"$SOURCE\" --gcs-source-staging-dir \"$STAGING\" --config \"$CONFIG\" --substitutions \"$SUBSTITUTIONS\" --service-account \"$ACCOUNT\" --project \"$PROJECT\" --region \"$REGION\" --quiet"

    environment = {
      ACCOUNT       = "projects/${var.project_id}/serviceAccounts/${google_service_account.this["build"].email}"
      CONFIG        = "${path.module}/build.yaml"
      PROJECT       = var.project_id
      REGION        = var.region
      SOURCE        = "gs://${google_storage_bucket.this.name}/${google_storage_bucket_object.code.name}"
      STAGING       = "gs://${google_storage_bucket.this.name}/code/staging"
      SUBSTITUTIONS = "_BUILDER=${var.builder},_IMAGE=${local.image},_PYTHON=${local.manifest.python}"
    }
  }

  depends_on = [
    google_artifact_registry_repository_iam_member.build,
    google_project_iam_member.build,
    google_storage_bucket_iam_member.build,
  ]
}

resource "google_cloud_run_v2_service" "this" {
  for_each = local.functions

  project             = var.project_id
  name                = "${var.name}-${each.key}"
  location            = var.region
  description         = "OmniSentinel ${each.key}, project ${local.manifest.project.digest}"
  ingress             = each.value.ingress
  deletion_protection = false # it holds nothing
  labels              = local.labels

  template {
    service_account                  = google_service_account.this[each.key].email
    timeout                          = "${each.value.timeout}s"
    max_instance_request_concurrency = each.value.concurrency
    labels                           = local.labels

    scaling {
      min_instance_count = 0
      max_instance_count = each.value.instances
    }

    containers {
      image = local.image

      resources {
        limits            = { cpu = "1", memory = "${var.memory_mb}Mi" }
        cpu_idle          = true # a processor only while a call runs
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(local.settings, var.environment, {
          CLOUD_RUN_TIMEOUT_SECONDS = tostring(each.value.timeout)
          FUNCTION_SIGNATURE_TYPE   = each.value.signature
          FUNCTION_TARGET           = each.key
        })

        content {
          name  = env.key
          value = env.value
        }
      }
    }

    dynamic "vpc_access" {
      for_each = var.vpc[*]

      content {
        egress = "PRIVATE_RANGES_ONLY"

        network_interfaces {
          network    = vpc_access.value.network
          subnetwork = vpc_access.value.subnetwork
        }
      }
    }
  }

  dynamic "traffic" {
    for_each = local.newest_share[each.key] > 0 ? [local.newest_share[each.key]] : []

    content {
      type    = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
      percent = traffic.value
    }
  }
  dynamic "traffic" {
    for_each = [for name, revision in var.canary.stable : revision if name == each.key]

    content {
      type     = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
      revision = traffic.value
      percent  = 100 - var.canary.percent
    }
  }

  lifecycle {
    ignore_changes = [client, client_version]

    precondition {
      condition     = length(local.unset) == 0
      error_message = "The project refers to ${join(", ", formatlist("$${%s}", local.unset))}: set it in `environment`."
    }
    precondition {
      condition     = each.value.timeout >= 1 && each.value.timeout <= 3600
      error_message = "Cloud Run gives a call 3600 s at most; the manifest wants ${each.value.timeout} s for ${each.key}."
    }
  }

  depends_on = [
    google_project_iam_member.state,
    google_secret_manager_secret_iam_member.function,
    google_storage_bucket_iam_member.project,
    terraform_data.image,
  ]
}
