# The project's secrets and the key of its tenants in one vault; the functions' access keys, which the host makes and
# renews by itself, in another. Terraform writes no secret and reads none: values never come into its state.

resource "azurerm_key_vault" "secrets" {
  #checkov:skip=CKV_AZURE_109:no network of the user's is assumed; who comes needs an identity with a role, and accounts have no keys
  #checkov:skip=CKV_AZURE_189:no network of the user's is assumed; who comes needs an identity with a role, and accounts have no keys
  #checkov:skip=CKV2_AZURE_32:no network of the user's is assumed; who comes needs an identity with a role, and accounts have no keys
  name                       = "${trimsuffix(substr(var.name, 0, 13), "-")}-s${local.digest}"
  resource_group_name        = azurerm_resource_group.this.name
  location                   = azurerm_resource_group.this.location
  tenant_id                  = data.azurerm_client_config.deployer.tenant_id
  sku_name                   = "standard"
  rbac_authorization_enabled = true
  purge_protection_enabled   = var.purge_protection
  soft_delete_retention_days = 90
  tags                       = local.tags
}

# The canary's is always there: a vault's name stays taken for 90 days after it was deleted.
resource "azurerm_key_vault" "host" {
  #checkov:skip=CKV_AZURE_109:no network of the user's is assumed; who comes needs an identity with a role, and accounts have no keys
  #checkov:skip=CKV_AZURE_189:no network of the user's is assumed; who comes needs an identity with a role, and accounts have no keys
  #checkov:skip=CKV2_AZURE_32:no network of the user's is assumed; who comes needs an identity with a role, and accounts have no keys
  for_each = toset(["canary", "stable"])

  name                       = "${trimsuffix(substr(var.name, 0, 13), "-")}-${substr(each.key, 0, 1) == "s" ? "h" : "c"}${local.digest}"
  resource_group_name        = azurerm_resource_group.this.name
  location                   = azurerm_resource_group.this.location
  tenant_id                  = data.azurerm_client_config.deployer.tenant_id
  sku_name                   = "standard"
  rbac_authorization_enabled = true
  purge_protection_enabled   = var.purge_protection
  soft_delete_retention_days = 90
  tags                       = local.tags
}

resource "azurerm_key_vault_key" "tenants" {
  #checkov:skip=CKV_AZURE_112:an HSM key needs the premium vault; the wrapped keys are no less bound to their tenants
  #checkov:skip=CKV_AZURE_40:the rotation policy gives every version its expiry; a date here would end the key itself
  name         = "tenants"
  key_vault_id = azurerm_key_vault.secrets.id
  key_type     = "RSA"
  key_size     = 3072
  key_opts     = ["unwrapKey", "wrapKey"]
  tags         = local.tags

  rotation_policy {
    expire_after         = "P730D"
    notify_before_expiry = "P30D"

    automatic {
      time_after_creation = "P180D"
    }
  }

  depends_on = [time_sleep.deployer]
}
