# Logs, the alarms on them, and what the month may cost.

resource "azurerm_log_analytics_workspace" "this" {
  name                         = "${var.name}-logs"
  resource_group_name          = azurerm_resource_group.this.name
  location                     = azurerm_resource_group.this.location
  sku                          = "PerGB2018"
  retention_in_days            = var.log_retention_days
  daily_quota_gb               = var.log_daily_cap_gb
  local_authentication_enabled = false
  tags                         = local.tags
}

resource "azurerm_application_insights" "this" {
  count = var.tracing ? 1 : 0

  name                         = var.name
  resource_group_name          = azurerm_resource_group.this.name
  location                     = azurerm_resource_group.this.location
  application_type             = "web"
  workspace_id                 = azurerm_log_analytics_workspace.this.id
  retention_in_days            = 30
  daily_data_cap_in_gb         = var.log_daily_cap_gb
  local_authentication_enabled = false
  tags                         = local.tags
}

resource "azurerm_monitor_diagnostic_setting" "functions" {
  for_each = local.apps

  name                       = "logs"
  target_resource_id         = azapi_resource.app[each.key].id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.this.id

  enabled_log {
    category = "FunctionAppLogs"
  }
}

resource "azurerm_monitor_diagnostic_setting" "timers" {
  for_each = local.timers

  name                       = "runs"
  target_resource_id         = azapi_resource.timer[each.key].id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.this.id

  enabled_log {
    category = "WorkflowRuntime"
  }
}

resource "azurerm_monitor_diagnostic_setting" "secrets" {
  name                       = "audit"
  target_resource_id         = azurerm_key_vault.secrets.id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.this.id

  enabled_log {
    category = "AuditEvent"
  }
}

resource "azurerm_monitor_action_group" "this" {
  name                = var.name
  resource_group_name = azurerm_resource_group.this.name
  short_name          = substr(local.letters, 0, 12)
  tags                = local.tags

  dynamic "email_receiver" {
    for_each = toset(var.alarm_emails)

    content {
      name                    = email_receiver.value
      email_address           = email_receiver.value
      use_common_alert_schema = true
    }
  }
}

locals {
  actions  = "AzureDiagnostics | where ResourceProvider == 'MICROSOFT.LOGIC' and OperationName == 'Microsoft.Logic/workflows/workflowActionCompleted' and resource_actionName_s in ('canary_key', 'canary_watch')"
  finished = "AzureDiagnostics | where ResourceProvider == 'MICROSOFT.LOGIC' and OperationName == 'Microsoft.Logic/workflows/workflowRunCompleted'"
  ours     = "FunctionAppLogs | where _ResourceId in~ (${join(", ", [for one in azapi_resource.app : "'${one.id}'"])})"

  # name -> a question to the logs, and when its count is an alarm
  alarms_of_timers = {
    timers = {
      says  = "A timer could not call watch, its tries included. The run in the workflow's history says why."
      query = "${local.finished} and status_s == 'Failed'"
      when  = "GreaterThan", threshold = 0, window = "PT15M", every = "PT5M", severity = 1
    }
    sweeps = {
      says  = "No sweep has ended well for 15 minutes: owed messages wait, and missed slots are not found."
      query = "${local.finished} and status_s == 'Succeeded' and resource_workflowName_s == '${var.name}--sweep'"
      when  = "LessThan", threshold = 1, window = "PT15M", every = "PT5M", severity = 1
    }
  }
  alarms = merge(
    {
      errors = {
        says  = "A function failed, or a message was given up. Its log says which and why."
        query = "${local.ours} | where Level in ('Error', 'Critical')"
        when  = "GreaterThan", threshold = 0, window = "PT15M", every = "PT5M", severity = 1
      }
      poison = {
        says  = "A job could not be done in five attempts. Its message is in the queue that ends with -poison."
        query = "${local.ours} | where Message has 'MaxDequeueCount' or Message has '-poison'"
        when  = "GreaterThan", threshold = 0, window = "PT15M", every = "PT15M", severity = 2
      }
    },
    { for name, one in local.alarms_of_timers : name => one if var.manage_timers },
    var.canary == null ? {} : {
      canary = {
        says  = "The canary failed, was slow or could not be asked, and the stable version took the runs over. Take the canary away, or mend it."
        query = "${local.actions} and status_s in ('Failed', 'TimedOut')"
        when  = "GreaterThan", threshold = 0, window = "PT15M", every = "PT15M", severity = 2
      }
      # A run that does not draw the canary logs its actions as skipped: so it is known since when there is one.
      canary-silent = {
        says  = "For a day no run of the canary has ended well: it is being tried by nobody. The runs' history says why."
        query = "${local.actions} | summarize TimeGenerated = max(TimeGenerated), first = min(TimeGenerated), good = countif(resource_actionName_s == 'canary_watch' and status_s == 'Succeeded') | where good == 0 and first < ago(23h)"
        when  = "GreaterThan", threshold = 0, window = "P1D", every = "PT1H", severity = 2
      }
    },
  )
}

resource "azurerm_monitor_scheduled_query_rules_alert_v2" "this" {
  for_each = local.alarms

  name                    = "${var.name}-${each.key}"
  resource_group_name     = azurerm_resource_group.this.name
  location                = azurerm_resource_group.this.location
  description             = each.value.says
  scopes                  = [azurerm_log_analytics_workspace.this.id]
  severity                = each.value.severity
  evaluation_frequency    = each.value.every
  window_duration         = each.value.window
  auto_mitigation_enabled = true
  skip_query_validation   = true # the tables come with the first logs
  tags                    = local.tags

  criteria {
    query                   = each.value.query
    time_aggregation_method = "Count"
    operator                = each.value.when
    threshold               = each.value.threshold
  }

  action {
    action_groups = [azurerm_monitor_action_group.this.id]
  }
}

resource "azurerm_monitor_metric_alert" "throttled" {
  name                = "${var.name}-throttled"
  resource_group_name = azurerm_resource_group.this.name
  scopes              = [azurerm_storage_account.data.id]
  description         = "Storage throttles the state, the answers or the jobs."
  severity            = 2
  frequency           = "PT5M"
  window_size         = "PT15M"
  tags                = local.tags

  criteria {
    metric_namespace = "Microsoft.Storage/storageAccounts"
    metric_name      = "Transactions"
    aggregation      = "Total"
    operator         = "GreaterThan"
    threshold        = 10

    dimension {
      name     = "ResponseType"
      operator = "Include"
      values   = ["ClientThrottlingError", "ServerBusyError"]
    }
  }

  action {
    action_group_id = azurerm_monitor_action_group.this.id
  }
}

resource "azurerm_consumption_budget_resource_group" "this" {
  name              = var.name
  resource_group_id = azurerm_resource_group.this.id
  amount            = var.monthly_budget
  time_grain        = "Monthly"

  time_period {
    start_date = formatdate("YYYY-MM-01'T'00:00:00'Z'", plantimestamp())
  }

  notification {
    operator       = "GreaterThan"
    threshold      = 80
    threshold_type = "Actual"
    contact_emails = var.alarm_emails
  }

  notification {
    operator       = "GreaterThan"
    threshold      = 100
    threshold_type = "Forecasted"
    contact_emails = var.alarm_emails
  }

  lifecycle {
    ignore_changes = [time_period] # the month in which it was made
  }
}
