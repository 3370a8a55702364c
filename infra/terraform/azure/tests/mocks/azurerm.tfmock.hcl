mock_data "azurerm_client_config" {
  defaults = {
    client_id       = "00000000-0000-0000-0000-00000000000c"
    object_id       = "00000000-0000-0000-0000-00000000000d"
    subscription_id = "00000000-0000-0000-0000-00000000000e"
    tenant_id       = "00000000-0000-0000-0000-00000000000f"
  }
}

mock_resource "azurerm_key_vault" {
  defaults = {
    id        = "/subscriptions/00000000-0000-0000-0000-00000000000e/resourceGroups/omni/providers/Microsoft.KeyVault/vaults/omni"
    vault_uri = "https://omni.vault.azure.net/"
  }
}

mock_resource "azurerm_storage_account" {
  defaults = {
    id                     = "/subscriptions/00000000-0000-0000-0000-00000000000e/resourceGroups/omni/providers/Microsoft.Storage/storageAccounts/omni"
    primary_blob_endpoint  = "https://omni.blob.core.windows.net/"
    primary_queue_endpoint = "https://omni.queue.core.windows.net/"
    primary_table_endpoint = "https://omni.table.core.windows.net/"
  }
}

mock_resource "azurerm_user_assigned_identity" {
  defaults = {
    client_id    = "00000000-0000-0000-0000-00000000000a"
    id           = "/subscriptions/00000000-0000-0000-0000-00000000000e/resourceGroups/omni/providers/Microsoft.ManagedIdentity/userAssignedIdentities/omni"
    principal_id = "00000000-0000-0000-0000-00000000000b"
  }
}
