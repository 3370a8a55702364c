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

  # timer -> first the canary, in some of the runs. Whatever becomes of it, the version that is known to work is asked next:
  # it finds the slot done, or does it. So a canary that fails or is slow delays an alert, and loses none.
  canary_steps = {
    for name, timer in local.timers : name => {
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
            body        = merge(timer.body, { scheduled_at = local.slot })
            retryPolicy = { type = "none" }
          }
          limit                = { timeout = "PT${var.canary.timeout_s}S" }
          runtimeConfiguration = { secureData = { properties = ["inputs"] } }
          runAfter             = { canary_key = ["Succeeded"] }
        }
      }
      else     = { actions = {} }
      runAfter = {}
    } if var.canary != null
  }
}

# The whole workflow in one call, its identity with it: half of one is never live, and no step is taken away while another
# still runs after it. Secrets are not in it: the run reads the key, and hides what it read.
resource "azapi_resource" "timer" {
  for_each = local.timers

  type      = "Microsoft.Logic/workflows@2019-05-01"
  name      = each.value.workflow
  parent_id = azurerm_resource_group.this.id
  location  = azurerm_resource_group.this.location

  tags = merge(local.tags, {
    for i in range(ceil(length(each.value.given) / 256)) : "omnisentinel-given-${i}" => substr(each.value.given, i * 256, 256)
  })

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.timers.id]
  }

  body = {
    properties = {
      state = "Enabled"
      definition = {
        "$schema" = "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#"
        # azapi compares the names that stand here. What Azure adds (evaluatedRecurrence, an address) is no change, and
        # neither is a name that stood here and does not any more: of a canary that only went away Azure would never hear
        # (ignore_no_op_changes, azapi's default). So a value that is always here says whether there is one.
        contentVersion = var.canary == null ? "1.0.0.0" : "1.0.0.1"
        parameters     = {}
        triggers       = { schedule = { type = "Recurrence", recurrence = each.value.native.recurrence } }
        outputs        = {}

        actions = merge({ for step in ["canary"] : step => local.canary_steps[each.key] if var.canary != null }, {
          key = merge(local.read_key["stable"], {
            runAfter = { for step in ["canary"] : step => ["Succeeded", "Failed", "TimedOut", "Skipped"] if var.canary != null }
          })
          watch = {
            type = "Http"
            inputs = {
              method      = "POST"
              uri         = "https://${local.hosts["stable"]}/watch"
              headers     = { Content-Type = "application/json", x-functions-key = "@{body('key')?['value']}" }
              body        = merge(each.value.body, { scheduled_at = local.slot })
              retryPolicy = local.retry
            }
            runtimeConfiguration = { secureData = { properties = ["inputs"] } }
            runAfter             = { key = ["Succeeded"] }
          }
        })
      }
    }
  }

  ignore_missing_property = false # a step that somebody took away by hand comes back
  response_export_values  = []

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

  # A timer that fires before what it calls is there, and has made its key, would only raise an alarm.
  depends_on = [azapi_resource_action.sync]
}
