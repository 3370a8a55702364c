# State, answers and jobs in one account; the functions' own files (code, leases) in another, so that what the host
# may do ends there. Neither has keys: who comes has an identity.

resource "azurerm_storage_account" "data" {
  #checkov:skip=CKV_AZURE_59:no network of the user's is assumed; who comes needs an identity with a role, and accounts have no keys
  #checkov:skip=CKV2_AZURE_33:no network of the user's is assumed; who comes needs an identity with a role, and accounts have no keys
  #checkov:skip=CKV2_AZURE_1:Azure's own keys encrypt at rest; with a key of the user's, who loses or purges it loses the state
  #checkov:skip=CKV_AZURE_206:copies stay in the region: residency
  #checkov:skip=CKV_AZURE_33:classic storage logging is being retired; the application's audit has every question
  #checkov:skip=CKV_AZURE_43:the name is computed; a test holds it to the rule
  #checkov:skip=CKV2_AZURE_21:the application's audit has every question
  name                             = "${substr(local.letters, 0, 14)}d${local.digest}"
  resource_group_name              = azurerm_resource_group.this.name
  location                         = azurerm_resource_group.this.location
  account_tier                     = "Standard"
  account_replication_type         = var.replication
  account_kind                     = "StorageV2"
  min_tls_version                  = "TLS1_2"
  shared_access_key_enabled        = false
  default_to_oauth_authentication  = true
  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false
  local_user_enabled               = false
  table_encryption_key_type        = "Account"
  queue_encryption_key_type        = "Account"
  tags                             = local.tags

  blob_properties {
    delete_retention_policy {
      days = 7
    }
    container_delete_retention_policy {
      days = 7
    }
  }
}

resource "azurerm_storage_account" "host" {
  #checkov:skip=CKV_AZURE_59:no network of the user's is assumed; who comes needs an identity with a role, and accounts have no keys
  #checkov:skip=CKV2_AZURE_33:no network of the user's is assumed; who comes needs an identity with a role, and accounts have no keys
  #checkov:skip=CKV2_AZURE_1:it holds our code and leases, nobody's data
  #checkov:skip=CKV_AZURE_206:copies stay in the region: residency
  #checkov:skip=CKV_AZURE_33:it has no queues
  #checkov:skip=CKV_AZURE_43:the name is computed; a test holds it to the rule
  name                             = "${substr(local.letters, 0, 14)}h${local.digest}"
  resource_group_name              = azurerm_resource_group.this.name
  location                         = azurerm_resource_group.this.location
  account_tier                     = "Standard"
  account_replication_type         = var.replication
  account_kind                     = "StorageV2"
  min_tls_version                  = "TLS1_2"
  shared_access_key_enabled        = false
  default_to_oauth_authentication  = true
  allow_nested_items_to_be_public  = false
  cross_tenant_replication_enabled = false
  local_user_enabled               = false
  tags                             = local.tags

  blob_properties {
    delete_retention_policy {
      days = 7
    }
  }
}

resource "azurerm_storage_table" "state" {
  #checkov:skip=CKV2_AZURE_20:the application's audit has every question
  name               = "state"
  storage_account_id = azurerm_storage_account.data.id
}

resource "azurerm_storage_container" "objects" {
  #checkov:skip=CKV2_AZURE_21:the application's audit has every question
  name                  = "objects"
  storage_account_id    = azurerm_storage_account.data.id
  container_access_type = "private"
}

# Code is no data: through ARM, so that a plan that takes an earlier container away does not look like one that loses state.
resource "azapi_resource" "code" {
  for_each = local.apps

  type      = "Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01"
  name      = "${each.key}-${substr(each.value.manifest.code.sha256, 0, 12)}"
  parent_id = "${azurerm_storage_account.host.id}/blobServices/default"
  body      = { properties = { publicAccess = "None" } }

  response_export_values = []

  lifecycle {
    create_before_destroy = true
  }
}

# Under this name Flex Consumption takes the code of an app out of its container.
resource "azurerm_storage_blob" "code" {
  for_each = local.apps

  name                 = "released-package.zip"
  storage_container_id = azapi_resource.code[each.key].id
  type                 = "Block"
  source               = "${each.value.folder}/${each.value.manifest.code.file}"
  content_type         = "application/zip"

  depends_on = [time_sleep.deployer]

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [source] # the container's name says what is in it; the path is another on every machine
  }
}

resource "azurerm_storage_queue" "jobs" {
  for_each = local.apps

  name               = each.key == "stable" ? "${var.name}-jobs" : "${var.name}-jobs-${each.key}"
  storage_account_id = azurerm_storage_account.data.id
}

# The host moves a message here after five attempts; it needs no right to create queues where this one is there.
resource "azurerm_storage_queue" "poison" {
  for_each = local.apps

  name               = "${azurerm_storage_queue.jobs[each.key].name}-poison"
  storage_account_id = azurerm_storage_account.data.id
}

# Named by what is in it: a changed project is another blob, there before the app is told of it.
resource "azurerm_storage_blob" "project" {
  for_each = local.apps

  name                 = "projects/${each.value.manifest.project.file}"
  storage_container_id = azurerm_storage_container.objects.id
  type                 = "Block"
  source               = "${each.value.folder}/${each.value.manifest.project.file}"
  content_type         = "application/zip"

  depends_on = [time_sleep.deployer]

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [source] # its name says what is in it; the path is another on every machine
  }
}

# Who reads judges an answer's expiry; this takes the bytes away afterwards.
resource "azurerm_storage_management_policy" "data" {
  storage_account_id = azurerm_storage_account.data.id

  rule {
    name    = "answers-of-jobs"
    enabled = true

    filters {
      blob_types   = ["blockBlob"]
      prefix_match = ["${azurerm_storage_container.objects.name}/job/"]
    }

    actions {
      base_blob {
        delete_after_days_since_modification_greater_than = ceil(var.job_ttl_s / 86400) + 1
      }
    }
  }
}
