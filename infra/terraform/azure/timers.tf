# One workflow a timer of the manifest. What it says is what `omni schedule` would write: the recurrence is the manifest's,
# translated once, when the project was bundled; its tags hold what it was made from.

locals {
  timers = {
    for name, timer in local.manifest.timers : name => merge(timer, {
      workflow = length("${var.name}--${timer.id}") <= 43 ? "${var.name}--${timer.id}" : "${substr("${var.name}--${timer.id}", 0, 32)}-${substr(sha256("${var.name}--${timer.id}"), 0, 10)}"
      given = replace(replace(base64encode(jsonencode({
        name = name, cron = timer.cron, timezone = timer.timezone, payload = timer.payload
      })), "+", "-"), "/", "_")
      # Logic Apps reads @ at the beginning, and @{ anywhere, as code.
      body = merge({ for key, value in timer.payload : key => value if key != "alert" }, {
        for key, value in timer.payload : key => startswith(value, "@") ? "@${value}" : replace(value, "@{", "@@{") if key == "alert"
      })
    }) if var.manage_timers
  }

  retry = { type = "exponential", count = 3, interval = "PT20S", minimumInterval = "PT10S", maximumInterval = "PT2M" }

  # The minute for which the trigger fired.
  slot = "@formatDateTime(coalesce(trigger()?['scheduledTime'],trigger()?['startTime']),'yyyy-MM-ddTHH:mm:00Z')"

  vault_audience = "https://${regex("^https://[^./]+\\.([^/:]+)", azurerm_key_vault.host["stable"].vault_uri)[0]}"

  # app -> the read of its function key
  read_key = {
    for app in keys(local.apps) : app => {
      type = "Http"
      inputs = {
        method = "GET"
        uri    = "${azurerm_key_vault.host[app].vault_uri}secrets/${local.host_key}?api-version=7.4"
        authentication = {
          type     = "ManagedServiceIdentity"
          identity = azurerm_user_assigned_identity.timers.id
          audience = local.vault_audience
        }
        retryPolicy = local.retry
      }
      runtimeConfiguration = { secureData = { properties = ["outputs"] } }
    }
  }
}

resource "azurerm_logic_app_workflow" "timer" {
  for_each = local.timers

  name                = each.value.workflow
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  enabled             = true

  tags = merge(local.tags, {
    for i in range(ceil(length(each.value.given) / 256)) : "omnisentinel-given-${i}" => substr(each.value.given, i * 256, 256)
  })

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.timers.id]
  }

  lifecycle {
    precondition {
      condition     = can(each.value.native.recurrence.frequency)
      error_message = "The manifest has no recurrence for the timer ${each.key}: run `omni bundle azure --parts`, which says why if Logic Apps cannot express its schedule."
    }
    precondition {
      condition     = length(each.value.given) <= 10 * 256
      error_message = "The name and payload of the timer ${each.key} are too long for the tags of a Logic App."
    }
  }
}

resource "azurerm_logic_app_trigger_custom" "timer" {
  for_each = local.timers

  name         = "schedule"
  logic_app_id = azurerm_logic_app_workflow.timer[each.key].id
  body         = jsonencode({ type = "Recurrence", recurrence = each.value.native.recurrence })

  # A timer that fires before what it calls is there would only raise an alarm.
  depends_on = [azurerm_logic_app_action_custom.watch, azapi_resource_action.sync]
}

# First the canary, in some of the runs. Whatever becomes of it, the version that is known to work is asked next: it finds
# the slot done, or does it. So a canary that fails or is slow delays an alert, and loses none.
resource "azurerm_logic_app_action_custom" "canary" {
  for_each = { for name, timer in local.timers : name => timer if var.canary != null }

  name         = "canary"
  logic_app_id = azurerm_logic_app_workflow.timer[each.key].id
  body = jsonencode({
    type       = "If"
    expression = { and = [{ less = ["@rand(0,100)", var.canary.percent] }] }
    actions = {
      canary_key = merge(local.read_key["canary"], { runAfter = {} })
      canary_watch = {
        type = "Http"
        inputs = {
          method      = "POST"
          uri         = "https://${local.hosts["canary"]}/watch"
          headers     = { Content-Type = "application/json", x-functions-key = "@{body('canary_key')?['value']}" }
          body        = merge(each.value.body, { scheduled_at = local.slot })
          retryPolicy = { type = "none" }
        }
        limit                = { timeout = "PT${var.canary.timeout_s}S" }
        runtimeConfiguration = { secureData = { properties = ["inputs"] } }
        runAfter             = { canary_key = ["Succeeded"] }
      }
    }
    else     = { actions = {} }
    runAfter = {}
  })

  depends_on = [azapi_resource_action.sync] # it has no key before
}

resource "azurerm_logic_app_action_custom" "key" {
  for_each = local.timers

  name         = "key"
  logic_app_id = azurerm_logic_app_workflow.timer[each.key].id
  body = jsonencode(merge(local.read_key["stable"], {
    runAfter = { for one in(var.canary == null ? [] : ["canary"]) : one => ["Succeeded", "Failed", "TimedOut", "Skipped"] }
  }))

  depends_on = [azurerm_logic_app_action_custom.canary]
}

resource "azurerm_logic_app_action_custom" "watch" {
  for_each = local.timers

  name         = "watch"
  logic_app_id = azurerm_logic_app_workflow.timer[each.key].id
  body = jsonencode({
    type = "Http"
    inputs = {
      method      = "POST"
      uri         = "https://${local.hosts["stable"]}/watch"
      headers     = { Content-Type = "application/json", x-functions-key = "@{body('key')?['value']}" }
      body        = merge(each.value.body, { scheduled_at = local.slot })
      retryPolicy = local.retry
    }
    runtimeConfiguration = { secureData = { properties = ["inputs"] } }
    runAfter             = { (azurerm_logic_app_action_custom.key[each.key].name) = ["Succeeded"] }
  })
}
