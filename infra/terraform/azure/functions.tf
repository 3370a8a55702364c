locals {
  timeout_s = max(local.manifest.watch_timeout_s, local.manifest.ask_timeout_s)

  # Each OMNI_ variable is a field of Settings.
  settings = {
    for app, one in local.apps : app => merge(
      {
        OMNI_DEPLOYMENT     = var.name
        OMNI_JOB_TTL_S      = tostring(var.job_ttl_s)
        OMNI_KEY            = "${azurerm_key_vault.secrets.vault_uri}keys/${azurerm_key_vault_key.tenants.name}"
        OMNI_LOG_LEVEL      = var.log_level
        OMNI_MEMORY_LIMIT   = "${floor(var.memory_mb / 2)}MB"
        OMNI_OBJECTS        = "${azurerm_storage_account.data.primary_blob_endpoint}${azurerm_storage_container.objects.name}"
        OMNI_PROJECT_OBJECT = azurerm_storage_blob.project[app].name
        OMNI_QUEUE          = "${azurerm_storage_account.data.primary_queue_endpoint}${azurerm_storage_queue.jobs[app].name}"
        OMNI_REGION         = var.region
        OMNI_SECRET_PREFIX  = "${azurerm_key_vault.secrets.vault_uri}secrets/"
        OMNI_STORE_TABLE    = "${azurerm_storage_account.data.primary_table_endpoint}${azurerm_storage_table.state.name}"
        OMNI_TRACING        = tostring(var.tracing)

        AZURE_CLIENT_ID = azurerm_user_assigned_identity.functions.client_id

        AzureFunctionsJobHost__functionTimeout = format("%02d:%02d:%02d", floor(local.timeout_s / 3600), floor(local.timeout_s / 60) % 60, local.timeout_s % 60)

        # The host's own files, and its keys in a vault: no key of an account, and none in Terraform's state.
        AzureWebJobsStorage__accountName          = azurerm_storage_account.host.name
        AzureWebJobsStorage__credential           = "managedidentity"
        AzureWebJobsStorage__clientId             = azurerm_user_assigned_identity.functions.client_id
        AzureWebJobsSecretStorageType             = "keyvault"
        AzureWebJobsSecretStorageKeyVaultUri      = azurerm_key_vault.host[app].vault_uri
        AzureWebJobsSecretStorageKeyVaultClientId = azurerm_user_assigned_identity.functions.client_id

        # Whence the queue trigger takes jobs.
        JobsStorage__queueServiceUri = azurerm_storage_account.data.primary_queue_endpoint
        JobsStorage__credential      = "managedidentity"
        JobsStorage__clientId        = azurerm_user_assigned_identity.functions.client_id
      },
      var.tracing ? { APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "Authorization=AAD;ClientId=${azurerm_user_assigned_identity.functions.client_id}" } : {},
      var.environment,
    )
  }
}

resource "azurerm_service_plan" "this" {
  #checkov:skip=CKV_AZURE_212:Flex Consumption scales from zero; a standing instance is what it does without
  #checkov:skip=CKV_AZURE_225:not a property of Flex Consumption in every region; replication ZRS keeps the state in three zones
  for_each = local.apps

  name                = each.value.name
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  os_type             = "Linux"
  sku_name            = "FC1"
  tags                = local.tags
}

resource "azurerm_function_app_flex_consumption" "this" {
  for_each = local.apps

  name                = each.value.name
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  service_plan_id     = azurerm_service_plan.this[each.key].id
  tags                = local.tags

  runtime_name    = "python"
  runtime_version = each.value.manifest.python
  zip_deploy_file = "${each.value.folder}/${each.value.manifest.code.file}"

  storage_container_type            = "blobContainer"
  storage_container_endpoint        = "${azurerm_storage_account.host.primary_blob_endpoint}${azurerm_storage_container.code[each.key].name}"
  storage_authentication_type       = "UserAssignedIdentity"
  storage_user_assigned_identity_id = azurerm_user_assigned_identity.functions.id

  instance_memory_in_mb  = var.memory_mb
  maximum_instance_count = var.max_instances
  https_only             = true

  app_settings = local.settings[each.key]

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.functions.id]
  }

  site_config {
    minimum_tls_version                    = "1.2"
    scm_minimum_tls_version                = "1.2"
    http2_enabled                          = true
    application_insights_connection_string = var.tracing ? azurerm_application_insights.this[0].connection_string : null
  }

  dynamic "auth_settings_v2" {
    for_each = var.entra == null ? [] : [var.entra]

    content {
      auth_enabled           = true
      require_authentication = false # who has an API key, and the timers with their function key, come without a token
      unauthenticated_action = "AllowAnonymous"
      default_provider       = "azureactivedirectory"
      require_https          = true

      active_directory_v2 {
        client_id            = auth_settings_v2.value.client_id
        tenant_auth_endpoint = "https://login.microsoftonline.com/${auth_settings_v2.value.tenant_id}/v2.0"
        allowed_audiences    = [auth_settings_v2.value.client_id, "api://${auth_settings_v2.value.client_id}"]
      }

      login {
        token_store_enabled = false
      }
    }
  }

  lifecycle {
    precondition {
      condition     = alltrue([for name in each.value.manifest.environment : contains(keys(var.environment), name)])
      error_message = "The project refers to variables that environment does not have: ${join(", ", [for name in each.value.manifest.environment : name if !contains(keys(var.environment), name)])}."
    }
    precondition {
      condition     = filesha256("${each.value.folder}/${each.value.manifest.code.file}") == each.value.manifest.code.sha256 && filesha256("${each.value.folder}/${each.value.manifest.project.file}") == each.value.manifest.project.sha256
      error_message = "A zip beside the manifest of ${each.key} is not the one that the manifest names: run `omni bundle azure --parts` again."
    }
    precondition {
      condition     = local.timeout_s <= 600
      error_message = "An alert's timeout, with the time for its messages, is over the 10 minutes that a function has here."
    }
  }

  depends_on = [time_sleep.functions]
}
