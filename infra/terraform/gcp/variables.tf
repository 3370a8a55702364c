variable "alarm_emails" {
  description = "Addresses that get the alarms."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+$", one))])
    error_message = "alarm_emails has to hold e-mail addresses."
  }
}

variable "alarms" {
  description = "Thresholds of the alarms. missed_sweep_minutes: no sweep has succeeded for so long; 15 at least, for Monitoring counts what is in logs up to ten minutes late. errors: answers of 5xx of one function within 5 minutes. ask_p99_ms, watch_p95_ms: latencies."
  type = object({
    ask_p99_ms           = optional(number, 10000)
    errors               = optional(number, 1)
    missed_sweep_minutes = optional(number, 15)
    watch_p95_ms         = optional(number, 60000)
  })
  default = {}

  validation {
    condition     = var.alarms.missed_sweep_minutes >= 15 && var.alarms.missed_sweep_minutes <= 60 && floor(var.alarms.missed_sweep_minutes) == var.alarms.missed_sweep_minutes
    error_message = "alarms.missed_sweep_minutes has to be a whole number from 15 to 60."
  }
  validation {
    condition     = var.alarms.errors >= 1 && var.alarms.ask_p99_ms > 0 && var.alarms.watch_p95_ms > 0
    error_message = "alarms.errors has to be at least 1, and the latencies more than 0."
  }
}

variable "ask_invokers" {
  description = "Who may call ask's URL, as IAM members: user:ann@example.com, group:..., serviceAccount:... Their callers send Google's identity token, and our key in X-Omni-Authorization. allUsers: anyone may connect, our API key is the identity. Empty: nobody."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.ask_invokers : one == "allUsers" || can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+$", one))])
    error_message = "ask_invokers has to hold allUsers, or members such as user:ann@example.com and serviceAccount:NAME@PROJECT.iam.gserviceaccount.com."
  }
}

variable "budget" {
  description = "A monthly budget of what carries this deployment's label: at 80 % and 100 % alarm_emails are told. Its currency is the billing account's. null: none."
  type = object({
    amount          = number
    billing_account = string
    currency        = optional(string, "USD")
  })
  default = null

  validation {
    condition     = try(var.budget.amount >= 1 && floor(var.budget.amount) == var.budget.amount, var.budget == null)
    error_message = "budget.amount has to be a whole number, 1 or more."
  }
  validation {
    condition     = try(can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account)), true) || var.budget == null
    error_message = "budget.billing_account has to look like 012345-6789AB-CDEF01."
  }
}

variable "builder" {
  description = "The buildpacks that make the image. It has to have the manifest's Python."
  type        = string
  default     = "gcr.io/buildpacks/builder:google-22"
}

variable "canary" {
  description = "stable: function -> the revision that keeps the rest of its calls while the newest one gets `percent` of them (0: none, which is the way back). Empty: the newest gets all. `omni deploy gcp --apply` sets it, watches, and then gives all calls to the one or the other."
  type = object({
    percent = optional(number, 5)
    stable  = optional(map(string), {})
  })
  default = {}

  validation {
    condition     = var.canary.percent >= 0 && var.canary.percent <= 99 && floor(var.canary.percent) == var.canary.percent
    error_message = "canary.percent has to be a whole number from 0 to 99."
  }
  validation {
    condition     = alltrue([for name, revision in var.canary.stable : contains(["ask", "watch", "work"], name) && startswith(revision, "${var.name}-${name}-")])
    error_message = "canary.stable has to map ask, watch or work to a revision of that function."
  }
}

variable "concurrency" {
  description = "How many calls one instance of ask takes at a time; watch and work take one. More is cheaper, and needs memory for as many queries."
  type        = number
  default     = 2

  validation {
    condition     = var.concurrency >= 1 && var.concurrency <= 80
    error_message = "concurrency has to be 1 to 80."
  }
}

variable "deletion_protection" {
  description = "Whether destroying is refused while there is a database with state and audit. Switch it off and apply before you destroy."
  type        = bool
  default     = true
}

variable "enable_apis" {
  description = "Whether the module enables the APIs it needs. They stay enabled after it is destroyed."
  type        = bool
  default     = true
}

variable "environment" {
  description = "Variables that the project refers to as $${NAME}, and SMTP_*. No secrets: they are in the state. What the project needs is in the manifest, and a missing one is named by the plan."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Za-z][A-Za-z0-9_]*$", name)) && !startswith(name, "OMNI_") && !startswith(name, "K_") && !startswith(name, "CLOUD_RUN_") && !startswith(name, "FUNCTION_") && name != "PORT"])
    error_message = "environment may not set OMNI_* (use settings), K_*, CLOUD_RUN_*, FUNCTION_* or PORT, and names have letters, digits and _."
  }
}

variable "key" {
  description = "A symmetric Cloud KMS key of yours, in the same region, for tenants' data keys: projects/P/locations/L/keyRings/R/cryptoKeys/K. null: the module makes one. A key ring can never be deleted: give its key here when you build again under the same name."
  type        = string
  default     = null

  validation {
    condition     = var.key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.key))
    error_message = "key has to be projects/P/locations/L/keyRings/R/cryptoKeys/K."
  }
}

variable "labels" {
  description = "Labels for everything that can have them, besides `deployment`."
  type        = map(string)
  default     = {}

  validation {
    condition     = !contains(keys(var.labels), "deployment") && alltrue([for name, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", name)) && can(regex("^[a-z0-9_-]{0,63}$", value))])
    error_message = "Labels have small letters, digits, - and _, at most 63; the label `deployment` is the module's own."
  }
}

variable "log_retention_days" {
  description = "How long the deployment's own log bucket keeps the functions' logs. The project's _Default bucket keeps its copy for 30 days."
  type        = number
  default     = 30

  validation {
    condition     = var.log_retention_days >= 1 && var.log_retention_days <= 3650
    error_message = "log_retention_days has to be 1 to 3650."
  }
}

variable "manage_timers" {
  description = "Whether Terraform makes the timers. false: `omni schedule apply --cloud gcp` does."
  type        = bool
  default     = true
}

variable "manifest" {
  description = "Path of deployment.json, which `omni bundle gcp --parts` writes beside the zips: the timers, secrets and files are in it, and nowhere else."
  type        = string

  validation {
    condition     = fileexists(var.manifest)
    error_message = "There is no such file. Build it: omni bundle gcp --parts."
  }
  validation {
    condition     = try(jsondecode(file(var.manifest)).cloud == "gcp" && jsondecode(file(var.manifest)).version == 1, false)
    error_message = "The file is no manifest of version 1 for gcp. Build it: omni bundle gcp --parts."
  }
}

variable "max_instances" {
  description = "How many instances each function has at once, at most: a cap on cost."
  type = object({
    ask   = optional(number, 10)
    watch = optional(number, 20)
    work  = optional(number, 5)
  })
  default = {}

  validation {
    condition     = alltrue([for one in [var.max_instances.ask, var.max_instances.watch, var.max_instances.work] : one >= 1 && one <= 1000])
    error_message = "max_instances has to be 1 to 1000 for each function."
  }
}

variable "memory_mb" {
  description = "Memory of each instance."
  type        = number
  default     = 1024

  validation {
    condition     = var.memory_mb >= 512 && var.memory_mb <= 4096
    error_message = "memory_mb has to be 512 to 4096: one processor takes no more."
  }
}

variable "name" {
  description = "Every name begins with it, so that a project can hold several deployments."
  type        = string
  default     = "omnisentinel"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.name)) && length(var.name) >= 4 && length(var.name) <= 20
    error_message = "name has to be 4 to 20 of a-z, 0-9 and single -, begin with a letter and not end with -."
  }
}

variable "previous_secrets" {
  description = "Secrets that a version reads which still has calls while a new one takes its first: names of the manifest that was deployed before. `omni deploy gcp` sets it."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.previous_secrets : can(regex("^[A-Za-z0-9_-]{1,200}$", name))])
    error_message = "previous_secrets has to hold names of secrets, as a manifest has them."
  }
}

variable "project_id" {
  description = "The Google Cloud project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id has to be a project's id, such as acme-alerts-123: not its number, not its name."
  }
}

variable "region" {
  description = "Where everything runs and everything is kept."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "region has to be a region's name, such as europe-west3: no zone, no multi-region."
  }
}

variable "residency" {
  description = "What the region's name has to begin with, such as europe-: the plan fails elsewhere. Empty: anywhere."
  type        = string
  default     = ""

  validation {
    condition     = startswith(var.region, var.residency)
    error_message = "The region is not where the data has to stay."
  }
}

variable "settings" {
  description = "Other settings of OmniSentinel, by name without OMNI_: { threads = 2, log_level = \"DEBUG\" }."
  type        = map(string)
  default     = {}

  validation {
    condition = alltrue([for name in keys(var.settings) : contains([
      "fetch_connections", "job_ttl_s", "lease_s", "log_level", "max_calls", "max_result_bytes", "max_rows",
      "memory_limit", "pushdown", "threads",
    ], name)])
    error_message = "settings knows fetch_connections, job_ttl_s, lease_s, log_level, max_calls, max_result_bytes, max_rows, memory_limit, pushdown and threads."
  }
}

variable "tracing" {
  description = "Sets OMNI_TRACING. Cloud Run traces its requests by itself, at most one in ten seconds, and logs carry their trace either way."
  type        = bool
  default     = false
}

variable "vpc" {
  description = "Network and subnetwork for calls to private addresses, where sources are inside a VPC. null: none."
  type = object({
    network    = string
    subnetwork = string
  })
  default = null
}

variable "work_timeout_s" {
  description = "How long one asynchronous question may take. Pub/Sub waits 600 s for an answer at most."
  type        = number
  default     = 300

  validation {
    condition     = var.work_timeout_s >= 60 && var.work_timeout_s <= 600
    error_message = "work_timeout_s has to be 60 to 600."
  }
}
