locals {
  hosts = { for app, one in local.apps : app => "${one.name}.azurewebsites.net" }
  # The host has one limit for all its functions. ask and watch keep their own, which are lower, by themselves. Flex Consumption
  # has 30 minutes where nobody says otherwise, and no most; 10 minutes is ours, so that what hangs does not cost for long.
  timeout_s = max(local.manifest.watch_timeout_s, local.manifest.ask_timeout_s, var.work_timeout_s)

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
      # No secret: the instance takes nothing without an identity.
      var.tracing ? {
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING = "Authorization=AAD;ClientId=${azurerm_user_assigned_identity.functions.client_id}"
        APPLICATIONINSIGHTS_CONNECTION_STRING     = nonsensitive(azurerm_application_insights.this[0].connection_string)
      } : {},
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

# Through ARM itself: azurerm's resource for Flex Consumption puts a connection string AzureWebJobsStorage beside the identity,
# on which the host then fails, and sends the code to an address that Flex does not have.
resource "azapi_resource" "app" {
  for_each = local.apps

  type      = "Microsoft.Web/sites@2024-04-01"
  name      = each.value.name
  parent_id = azurerm_resource_group.this.id
  location  = azurerm_resource_group.this.location
  tags      = local.tags

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.functions.id]
  }

  body = {
    kind = "functionapp,linux"
    properties = {
      serverFarmId          = azurerm_service_plan.this[each.key].id
      httpsOnly             = true
      clientAffinityEnabled = false

      functionAppConfig = {
        # A container per code: who goes back to an earlier one goes back to its bytes.
        deployment = {
          storage = {
            type  = "blobContainer"
            value = "${azurerm_storage_account.host.primary_blob_endpoint}${azapi_resource.code[each.key].name}"
            authentication = {
              type                           = "UserAssignedIdentity"
              userAssignedIdentityResourceId = azurerm_user_assigned_identity.functions.id
            }
          }
        }
        runtime = {
          name    = "python"
          version = each.value.manifest.python
        }
        scaleAndConcurrency = {
          instanceMemoryMB     = var.memory_mb
          maximumInstanceCount = var.max_instances
        }
      }

      siteConfig = {
        ftpsState        = "Disabled"
        http20Enabled    = true
        minTlsVersion    = "1.2"
        scmMinTlsVersion = "1.2"
        appSettings      = [for name, value in local.settings[each.key] : { name = name, value = value }]
      }
    }
  }

  response_export_values = []

  lifecycle {
    precondition {
      condition     = alltrue([for name in each.value.manifest.environment : contains(keys(var.environment), name)])
      error_message = "The project refers to variables that environment does not have: ${join(", ", [for name in each.value.manifest.environment : name if !contains(keys(var.environment), name)])}."
    }
    precondition {
      condition     = alltrue([for part in [each.value.manifest.code, each.value.manifest.project] : try(filesha256("${each.value.folder}/${part.file}"), "") == part.sha256])
      error_message = "A zip beside the manifest of ${each.key} is not there, or not the one that the manifest names: run `omni bundle azure --parts` again."
    }
    precondition {
      condition     = local.timeout_s <= 600
      error_message = "An alert's timeout, with the time for its messages, is over the 10 minutes that this module gives a function."
    }
  }

  depends_on = [time_sleep.functions, azurerm_storage_blob.code]
}

# What an app runs. It is told anew of its triggers, and woken, where this changes.
resource "terraform_data" "deployed" {
  for_each = local.apps

  input = [each.value.manifest.code.sha256, each.value.manifest.project.sha256]
}

# Code that comes out of a container is not published by anybody, so nothing tells the platform which triggers it has: it
# would not start work for a job. This does, and to answer the host has to start, which makes the access keys that the
# timers read. Terraform calls it when it makes the resource.
resource "azapi_resource_action" "sync" {
  for_each = local.apps

  type        = "Microsoft.Web/sites@2024-04-01"
  resource_id = azapi_resource.app[each.key].id
  action      = "host/default/sync"
  method      = "POST"

  # While the host starts, Azure answers 400 or 50x with what the host said.
  retry = {
    error_message_regex  = ["BadGateway", "GatewayTimeout", "InternalServerError", "ServiceUnavailable", "host runtime"]
    interval_seconds     = 15
    max_interval_seconds = 60
  }

  response_export_values = []

  timeouts {
    create = "15m"
  }

  lifecycle {
    replace_triggered_by = [terraform_data.deployed[each.key]]
  }
}

# Nobody publishes by name and password: the code comes from the container.
resource "azapi_update_resource" "publishing" {
  for_each = merge([for app in keys(local.apps) : { for door in ["ftp", "scm"] : "${app}-${door}" => { app = app, door = door } }]...)

  type      = "Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01"
  name      = each.value.door
  parent_id = azapi_resource.app[each.value.app].id
  body      = { properties = { allow = false } }
}

# App Service authentication: it checks tokens that are sent, and lets those pass who have an API key or the function key.
resource "azapi_update_resource" "auth" {
  for_each = local.apps

  type      = "Microsoft.Web/sites/config@2024-04-01"
  name      = "authsettingsV2"
  parent_id = azapi_resource.app[each.key].id
  body = {
    properties = {
      platform         = { enabled = var.entra != null }
      globalValidation = { requireAuthentication = false, unauthenticatedClientAction = "AllowAnonymous" }
      httpSettings     = { requireHttps = true }
      identityProviders = {
        azureActiveDirectory = {
          enabled = var.entra != null
          registration = {
            clientId     = try(var.entra.client_id, "")
            openIdIssuer = var.entra == null ? "" : "https://login.microsoftonline.com/${var.entra.tenant_id}/v2.0"
          }
          validation = { allowedAudiences = var.entra == null ? [] : [var.entra.client_id, "api://${var.entra.client_id}"] }
        }
      }
      login = { tokenStore = { enabled = false } }
    }
  }
}
