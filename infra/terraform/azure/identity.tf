# Who may do what. The functions share one identity, for they are one app; the timers have another, which can read one
# key and nothing else. Roles of our own hold the actions that the code calls, no wildcard among them, and are given on
# the table, the container, the queue, the vault: never on the account or the group.

resource "azurerm_user_assigned_identity" "functions" {
  name                = "${var.name}-functions"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = local.tags
}

resource "azurerm_user_assigned_identity" "timers" {
  name                = "${var.name}-timers"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = local.tags
}

locals {
  storage = "Microsoft.Storage/storageAccounts"
  roles = {
    state = {
      description  = "Read and change the state of alerts and jobs"
      actions      = []
      data_actions = [for one in ["read", "write", "delete", "add/action", "update/action"] : "${local.storage}/tableServices/tables/entities/${one}"]
    }
    objects = {
      description  = "Read the project, keep and remove answers"
      actions      = []
      data_actions = [for one in ["read", "write", "delete"] : "${local.storage}/blobServices/containers/blobs/${one}"]
    }
    # write is Update Message: the host renews a message that takes long, and gives back one that failed. Microsoft's list of
    # roles for a queue trigger leaves it out (MicrosoftDocs/azure-docs issue 120932).
    jobs = {
      description  = "Send jobs, take them and give them back"
      actions      = ["${local.storage}/queueServices/queues/read"]
      data_actions = [for one in ["read", "write", "process/action", "add/action"] : "${local.storage}/queueServices/queues/messages/${one}"]
    }
    poison = {
      description  = "Put a message aside that no attempt could finish"
      actions      = ["${local.storage}/queueServices/queues/read"]
      data_actions = ["${local.storage}/queueServices/queues/messages/add/action"]
    }
    secrets = {
      description  = "Read the value of a secret whose name is known"
      actions      = []
      data_actions = ["Microsoft.KeyVault/vaults/secrets/getSecret/action"]
    }
    tenants = {
      description  = "Wrap and unwrap data keys"
      actions      = []
      data_actions = [for one in ["wrap/action", "unwrap/action"] : "Microsoft.KeyVault/vaults/keys/${one}"]
    }
    hostkeys = {
      description  = "Make and renew the functions' access keys"
      actions      = []
      data_actions = [for one in ["getSecret/action", "setSecret/action", "readMetadata/action", "delete"] : "Microsoft.KeyVault/vaults/secrets/${one}"]
    }
  }

  grants = merge(
    {
      state   = { role = "state", scope = "${azurerm_storage_account.data.id}/tableServices/default/tables/${azurerm_storage_table.state.name}", who = "functions" }
      objects = { role = "objects", scope = "${azurerm_storage_account.data.id}/blobServices/default/containers/${azurerm_storage_container.objects.name}", who = "functions" }
      secrets = { role = "secrets", scope = azurerm_key_vault.secrets.id, who = "functions" }
      tenants = { role = "tenants", scope = "${azurerm_key_vault.secrets.id}/keys/${azurerm_key_vault_key.tenants.name}", who = "functions" }
    },
    { for app in keys(local.apps) : "jobs-${app}" => { role = "jobs", scope = "${azurerm_storage_account.data.id}/queueServices/default/queues/${azurerm_storage_queue.jobs[app].name}", who = "functions" } },
    { for app in keys(local.apps) : "poison-${app}" => { role = "poison", scope = "${azurerm_storage_account.data.id}/queueServices/default/queues/${azurerm_storage_queue.poison[app].name}", who = "functions" } },
    { for app in keys(local.apps) : "hostkeys-${app}" => { role = "hostkeys", scope = azurerm_key_vault.host[app].id, who = "functions" } },
    { for app in keys(local.apps) : "timers-${app}" => { role = "secrets", scope = "${azurerm_key_vault.host[app].id}/secrets/${local.host_key}", who = "timers" } },
  )
  host_key = "host--functionKey--default"
}

resource "azurerm_role_definition" "this" {
  for_each = local.roles

  name              = "${var.name} ${each.key} ${local.digest}"
  scope             = azurerm_resource_group.this.id
  assignable_scopes = [azurerm_resource_group.this.id]
  description       = "OmniSentinel ${var.name}: ${each.value.description}."

  permissions {
    actions      = each.value.actions
    data_actions = each.value.data_actions
  }
}

resource "azurerm_role_assignment" "this" {
  for_each = local.grants

  scope              = each.value.scope
  role_definition_id = azurerm_role_definition.this[each.value.role].role_definition_resource_id
  principal_id       = each.value.who == "functions" ? azurerm_user_assigned_identity.functions.principal_id : azurerm_user_assigned_identity.timers.principal_id
  principal_type     = "ServicePrincipal"
}

# What the Functions host asks for in the account that holds its code and leases, and that holds nothing else.
resource "azurerm_role_assignment" "host" {
  scope                = azurerm_storage_account.host.id
  role_definition_name = "Storage Blob Data Owner"
  principal_id         = azurerm_user_assigned_identity.functions.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "tracing" {
  count = var.tracing ? 1 : 0

  scope                = azurerm_application_insights.this[0].id
  role_definition_name = "Monitoring Metrics Publisher"
  principal_id         = azurerm_user_assigned_identity.functions.principal_id
  principal_type       = "ServicePrincipal"
}

# Who deploys uploads code and project, makes the tenants' key and sets the secrets: being the owner of a subscription is not
# enough for that.
resource "azurerm_role_assignment" "deployer" {
  for_each = {
    code    = { role = "Storage Blob Data Contributor", scope = azurerm_storage_account.host.id }
    project = { role = "Storage Blob Data Contributor", scope = "${azurerm_storage_account.data.id}/blobServices/default/containers/${azurerm_storage_container.objects.name}" }
    secrets = { role = "Key Vault Secrets Officer", scope = azurerm_key_vault.secrets.id }
    tenants = { role = "Key Vault Crypto Officer", scope = azurerm_key_vault.secrets.id }
  }

  scope                = each.value.scope
  role_definition_name = each.value.role
  principal_id         = data.azurerm_client_config.deployer.object_id
}

# A role counts some time after it was given.
resource "time_sleep" "deployer" {
  create_duration = "120s"
  triggers        = { for name, one in azurerm_role_assignment.deployer : name => one.id }
}

resource "time_sleep" "functions" {
  create_duration = "120s"
  triggers        = merge({ host = azurerm_role_assignment.host.id }, { for name, one in azurerm_role_assignment.this : name => one.id })
}
