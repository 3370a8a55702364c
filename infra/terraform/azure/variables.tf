variable "alarm_emails" {
  description = "Who is told when functions fail, messages are poisoned, sweeps are missed or the budget runs out."
  type        = list(string)

  validation {
    condition     = length(var.alarm_emails) > 0 && alltrue([for one in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", one))])
    error_message = "alarm_emails needs at least one e-mail address: an alarm that nobody reads is none."
  }
}

variable "canary" {
  description = "Another version that watches first in `percent` of the runs, from the deployment.json of its own bundle. Where it fails or takes longer than `timeout_s`, the version of `manifest` takes the run over at once. null: no canary."
  type = object({
    manifest  = string
    percent   = optional(number, 5)
    timeout_s = optional(number, 60)
  })
  default = null

  validation {
    condition     = var.canary == null ? true : var.canary.percent >= 1 && var.canary.percent <= 100 && floor(var.canary.percent) == var.canary.percent
    error_message = "canary.percent has to be a whole number from 1 to 100."
  }
  validation {
    condition     = var.canary == null ? true : var.canary.timeout_s >= 10 && var.canary.timeout_s <= 110
    error_message = "canary.timeout_s has to be 10 to 110: Logic Apps waits for an answer for 120 s at most."
  }
  validation {
    condition     = var.canary == null ? true : can(jsondecode(file(var.canary.manifest)).code.file)
    error_message = "canary.manifest has to be the path of a deployment.json, as `omni bundle azure --parts` writes it."
  }
}

variable "entra" {
  description = "An application of Entra ID whose tokens App Service checks: a caller is then the principal entra:OBJECT_ID. API keys go on working, in X-Omni-Authorization. null: API keys only."
  type = object({
    client_id = string
    tenant_id = string
  })
  default = null

  validation {
    condition     = var.entra == null ? true : alltrue([for one in [var.entra.client_id, var.entra.tenant_id] : can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", one))])
    error_message = "entra.client_id and entra.tenant_id have to be GUIDs."
  }
}

variable "environment" {
  description = "Values of the variables that the project refers to as $${NAME}. No secrets: those are secret:NAME and lie in Key Vault."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name)) && !can(regex("^(OMNI_|AZURE|WEBSITE_|FUNCTIONS_|JobsStorage|APPLICATIONINSIGHTS)", name))])
    error_message = "environment has names of variables; those that begin with OMNI_, AZURE, WEBSITE_, FUNCTIONS_, JobsStorage or APPLICATIONINSIGHTS are set by the module."
  }
}

variable "job_ttl_s" {
  description = "How long the answer of a job is kept, in seconds."
  type        = number
  default     = 86400

  validation {
    condition     = var.job_ttl_s >= 60 && var.job_ttl_s <= 31536000 && floor(var.job_ttl_s) == var.job_ttl_s
    error_message = "job_ttl_s has to be a whole number of seconds from 60 to 31536000 (a year)."
  }
}

variable "log_daily_cap_gb" {
  description = "Log Analytics takes no more than this a day; what comes after is lost. Caps the cost of a loop that logs."
  type        = number
  default     = 1

  validation {
    condition     = var.log_daily_cap_gb >= 0.1 && var.log_daily_cap_gb <= 100
    error_message = "log_daily_cap_gb has to be 0.1 to 100."
  }
}

variable "log_level" {
  description = "DEBUG, INFO, WARNING or ERROR."
  type        = string
  default     = "INFO"

  validation {
    condition     = contains(["DEBUG", "INFO", "WARNING", "ERROR"], var.log_level)
    error_message = "log_level has to be DEBUG, INFO, WARNING or ERROR."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = var.log_retention_days >= 30 && var.log_retention_days <= 730 && floor(var.log_retention_days) == var.log_retention_days
    error_message = "log_retention_days has to be a whole number from 30 to 730, which is what Log Analytics has."
  }
}

variable "manage_timers" {
  description = "Whether Terraform makes the timers. false: `omni schedule apply` does, or a person."
  type        = bool
  default     = true
}

variable "manifest" {
  description = "Path of the deployment.json that `omni bundle azure --parts` wrote; the zips lie beside it."
  type        = string

  validation {
    condition     = can(jsondecode(file(var.manifest)))
    error_message = "manifest has to be the path of a deployment.json: run `omni bundle azure --parts` first."
  }
  validation {
    condition     = try(jsondecode(file(var.manifest)).version, 0) == 1 && try(jsondecode(file(var.manifest)).cloud, "") == "azure"
    error_message = "This manifest is not of version 1 for azure: run `omni bundle azure --parts` of the same release as this module."
  }
}

variable "max_instances" {
  description = "How many instances ask and watch together may have at once, and work besides. Caps the cost and the load on sources. Below 40 is refused where a region does not have it yet."
  type        = number
  default     = 40

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 1000 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances has to be a whole number from 1 to 1000, which is what Flex Consumption has."
  }
}

variable "memory_mb" {
  description = "Memory of an instance: 512, 2048 or 4096."
  type        = number
  default     = 2048

  validation {
    condition     = contains([512, 2048, 4096], var.memory_mb)
    error_message = "memory_mb has to be 512, 2048 or 4096, which is what Flex Consumption has."
  }
}

variable "monthly_budget" {
  description = "Mails are sent at 80 % of this and when the forecast goes over it, in the currency of the subscription. Azure stops nothing by itself."
  type        = number
  default     = 50

  validation {
    condition     = var.monthly_budget >= 1
    error_message = "monthly_budget has to be at least 1."
  }
}

variable "name" {
  description = "Begins the name of everything, and is the resource group's: two deployments in one subscription have two."
  type        = string
  default     = "omnisentinel"

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])+$", var.name)) && length(var.name) >= 3 && length(var.name) <= 20
    error_message = "name has to be 3 to 20 of a-z, 0-9 and single hyphens, beginning with a letter."
  }
}

variable "purge_protection" {
  description = "Whether nobody, the owner included, can destroy a deleted vault or key before 90 days. Off for trials only: it cannot be turned off again."
  type        = bool
  default     = true
}

variable "region" {
  description = "Where everything is, as Azure writes it: westeurope."
  type        = string

  validation {
    condition     = contains(flatten(values(local.regions)), var.region)
    error_message = "region has to be one of Azure's regions with Flex Consumption, without spaces: westeurope, eastus2, and so on."
  }
  validation {
    condition     = var.residency == null ? true : contains(try(local.regions[var.residency], []), var.region)
    error_message = "region is not in the geography that residency demands."
  }
}

variable "replication" {
  description = "LRS (three copies in one place) or ZRS (in three zones of the region). Copies in another region are not offered: data stays where region says."
  type        = string
  default     = "LRS"

  validation {
    condition     = contains(["LRS", "ZRS"], var.replication)
    error_message = "replication has to be LRS or ZRS: the others copy the data to another region."
  }
}

variable "residency" {
  description = "Geography that data must not leave: africa, america, asia, australia, europe, middleeast, uk. null: not checked."
  type        = string
  default     = null

  validation {
    condition     = var.residency == null ? true : contains(keys(local.regions), var.residency)
    error_message = "residency has to be africa, america, asia, australia, europe, middleeast or uk."
  }
}

variable "tags" {
  description = "On everything that has tags."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(var.tags) <= 8 && alltrue([for name, value in var.tags : length(name) <= 128 && length(value) <= 256 && !can(regex("[<>%&\\\\?/]", name)) && !startswith(name, "omnisentinel")])
    error_message = "tags: at most 8, names of 128 characters without <>%&\\?/ and not beginning with omnisentinel, values of 256."
  }
}

variable "tracing" {
  description = "Whether Application Insights keeps a trace of requests. Logs and alarms are there without it."
  type        = bool
  default     = false
}

variable "work_timeout_s" {
  description = "How long a question with `mode: async` may take, in seconds. The host has one limit for its functions: the longest of this and the project's own for ask and watch."
  type        = number
  default     = 600

  validation {
    condition     = var.work_timeout_s >= 60 && var.work_timeout_s <= 600 && floor(var.work_timeout_s) == var.work_timeout_s
    error_message = "work_timeout_s has to be a whole number of seconds from 60 to 600 (10 minutes)."
  }
}
