output "alarms" {
  description = "The rules that send mails to alarm_emails."
  value       = sort(concat([for one in azurerm_monitor_scheduled_query_rules_alert_v2.this : one.name], [azurerm_monitor_metric_alert.throttled.name]))
}

output "apps" {
  description = "Each app's own address, the canary's among them: GET /healthz below it wakes one."
  value       = { for app, host in local.hosts : app => "https://${host}" }
}

output "ask_url" {
  description = "Where the HTTP API is; send `Authorization: Bearer KEY`."
  value       = "https://${local.hosts["stable"]}"
}

output "function_app" {
  description = "Name of the function app, for `az functionapp` and the portal."
  value       = azapi_resource.app["stable"].name
}

output "poison_queue" {
  description = "URL of the queue with the jobs that no attempt could finish."
  value       = "${azurerm_storage_account.data.primary_queue_endpoint}${azurerm_storage_queue.poison["stable"].name}"
}

output "resource_group" {
  description = "Everything is in it."
  value       = azurerm_resource_group.this.name
}

output "secrets" {
  description = "What the project refers to as secret:NAME -> the name to give it in the vault: `az keyvault secret set --vault-name VAULT --name ...`."
  value       = { for name in local.manifest.secrets : name => can(regex("^[a-z0-9]+(_[a-z0-9]+)*$", name)) ? replace(name, "_", "-") : "x--${join("", [for c in split("", name) : lookup(local.hex, c, c)])}" }
}

output "settings" {
  description = "For `omni schedule` and other commands on a machine that is signed in with `az login`."
  value = {
    OMNI_DEPLOYMENT      = var.name
    OMNI_KEY             = local.settings["stable"].OMNI_KEY
    OMNI_OBJECTS         = local.settings["stable"].OMNI_OBJECTS
    OMNI_QUEUE           = local.settings["stable"].OMNI_QUEUE
    OMNI_REGION          = var.region
    OMNI_SCHEDULE_GROUP  = azurerm_resource_group.this.id
    OMNI_SCHEDULE_KEY    = "${azurerm_key_vault.host["stable"].vault_uri}secrets/${local.host_key}"
    OMNI_SCHEDULE_ROLE   = azurerm_user_assigned_identity.timers.id
    OMNI_SCHEDULE_TARGET = "https://${local.hosts["stable"]}/watch"
    OMNI_SECRET_PREFIX   = local.settings["stable"].OMNI_SECRET_PREFIX
    OMNI_STORE_TABLE     = local.settings["stable"].OMNI_STORE_TABLE
  }
}

output "timers" {
  description = "Alert -> the Logic App that calls watch for it."
  value       = { for name, one in azapi_resource.timer : name => one.name }
}

output "vault" {
  description = "Name of the vault for the project's secrets."
  value       = azurerm_key_vault.secrets.name
}

output "watch_url" {
  description = "What timers call; it asks for the function key in `x-functions-key`."
  value       = "https://${local.hosts["stable"]}/watch"
}

output "workspace" {
  description = "Id of the Log Analytics workspace with the logs."
  value       = azurerm_log_analytics_workspace.this.id
}

locals {
  # Key Vault's names have letters, digits and hyphens, in which case says nothing: what else a secret's name may have
  # becomes a hyphen and two hexadecimal digits.
  hex = merge({ "-" = "-2d", "." = "-2e", "_" = "-5f" }, { for i, c in split("", "ABCDEFGHIJKLMNOPQRSTUVWXYZ") : c => format("-%02x", 65 + i) })
}
