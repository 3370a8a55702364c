variable "alarm_emails" {
  description = "Addresses that get the alarms. Each has to confirm the subscription that AWS mails to it."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for one in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+$", one))])
    error_message = "alarm_emails has to hold e-mail addresses."
  }
}

variable "alarms" {
  description = "Thresholds of the alarms. missed_sweep_minutes: no sweep has succeeded for so long. errors: of one function within 5 minutes. ask_p99_ms, watch_p95_ms: what a canary may take."
  type = object({
    ask_p99_ms           = optional(number, 10000)
    errors               = optional(number, 1)
    missed_sweep_minutes = optional(number, 5)
    watch_p95_ms         = optional(number, 60000)
  })
  default = {}

  validation {
    condition     = var.alarms.missed_sweep_minutes >= 2 && var.alarms.missed_sweep_minutes <= 60 && floor(var.alarms.missed_sweep_minutes) == var.alarms.missed_sweep_minutes
    error_message = "alarms.missed_sweep_minutes has to be a whole number from 2 to 60."
  }
  validation {
    condition     = var.alarms.errors >= 1 && var.alarms.ask_p99_ms > 0 && var.alarms.watch_p95_ms > 0
    error_message = "alarms.errors has to be at least 1, and the latencies more than 0."
  }
}

variable "budget_usd" {
  description = "Monthly budget in US dollars: at 80 % and 100 % alarm_emails are told. null: none. The tag `deployment` has to be a cost allocation tag of the account."
  type        = number
  default     = null

  validation {
    condition     = var.budget_usd == null || try(var.budget_usd > 0, false)
    error_message = "budget_usd has to be more than 0."
  }
}

variable "canary" {
  description = "Move 5 % of the calls to a new version, and the rest after `minutes`, unless an alarm on errors, failures or latency rings: then all goes back. Off: a new version takes all calls at once. See the README before you switch it."
  type = object({
    enabled = optional(bool, true)
    minutes = optional(number, 10)
    percent = optional(number, 5)
  })
  default = {}

  validation {
    condition     = var.canary.percent >= 1 && var.canary.percent <= 99 && var.canary.minutes >= 1 && var.canary.minutes <= 2880
    error_message = "canary.percent has to be 1 to 99, canary.minutes 1 to 2880."
  }
}

variable "concurrency" {
  description = "How many calls each function runs at once, at most: a cap on cost, and capacity that nothing else of the account takes. null: no cap. work is capped by its queue (2 or more). A new account has 10 in all and cannot reserve any."
  type = object({
    ask   = optional(number)
    watch = optional(number)
    work  = optional(number, 5)
  })
  default = {}

  validation {
    condition     = var.concurrency.work >= 2 && var.concurrency.work <= 1000
    error_message = "concurrency.work has to be 2 to 1000: SQS calls no function with less."
  }
  validation {
    condition     = alltrue([for one in [var.concurrency.ask, var.concurrency.watch] : try(one >= 1, one == null)])
    error_message = "concurrency.ask and concurrency.watch have to be 1 or more, or null."
  }
}

variable "environment" {
  description = "Variables that the project refers to as $${NAME}, and SMTP_*. No secrets: they are in the state. What the project needs is in the manifest, and a missing one is named by the plan."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Za-z][A-Za-z0-9_]*$", name)) && !startswith(name, "OMNI_") && !startswith(name, "AWS_")])
    error_message = "environment may not set OMNI_* (use settings) or AWS_*, and names have letters, digits and _."
  }
}

variable "force_destroy" {
  description = "Whether destroying may delete the state of alerts, the audit and what is in the bucket. For tests."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "A KMS key of yours for state, answers, queues and logs. null: the module makes one. Yours has to let the services use it, see the README."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn has to be the ARN of a key: arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps the functions' logs."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days has to be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "manage_timers" {
  description = "Whether Terraform makes the timers. false: `omni schedule apply` does, or a person; the group and the role are made all the same."
  type        = bool
  default     = true
}

variable "manifest" {
  description = "Path of deployment.json, which `omni bundle aws --parts` writes beside the zips: the timers, secrets and files are in it, and nowhere else."
  type        = string

  validation {
    condition     = fileexists(var.manifest)
    error_message = "There is no such file. Build it: omni bundle aws --parts."
  }
  validation {
    condition     = try(jsondecode(file(var.manifest)).cloud == "aws" && jsondecode(file(var.manifest)).version == 1, false)
    error_message = "The file is no manifest of version 1 for aws. Build it: omni bundle aws --parts."
  }
}

variable "memory_mb" {
  description = "Memory of each function, and with it its share of a processor."
  type        = number
  default     = 1024

  validation {
    condition     = var.memory_mb >= 512 && var.memory_mb <= 10240
    error_message = "memory_mb has to be 512 to 10240."
  }
}

variable "name" {
  description = "Every name begins with it, so that an account can hold several deployments."
  type        = string
  default     = "omnisentinel"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name has to be 3 to 24 of a-z, 0-9 and -, begin with a letter and not end with -."
  }
  # The queue NAME-jobs-dead-letters, and the alarms NAME-jobs-dead-letters and NAME-canary-ask-errors, would be another's.
  validation {
    condition     = !can(regex("-(canary|jobs)$", var.name))
    error_message = "name may not end with -canary or -jobs: a deployment without that ending has queues and alarms of the same names."
  }
}

variable "previous_secrets" {
  description = "Secrets that a version reads which still has calls while a new one takes its first: names of the manifest that was deployed before. `omni deploy aws` sets it."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.previous_secrets : can(regex("^[A-Za-z0-9/_+=.@-]{1,200}$", name))])
    error_message = "previous_secrets has to hold names of secrets, as a manifest has them."
  }
}

variable "region" {
  description = "Where the data has to stay: the plan fails where the provider is set to another region. null: wherever the provider is."
  type        = string
  default     = null

  validation {
    condition     = var.region == null || can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region has to be a region's name, such as eu-central-1."
  }
}

variable "secret_prefix" {
  description = "Stands before each secret's name in Secrets Manager. null: NAME/. The secrets themselves are made outside of Terraform, so that no value is in its state."
  type        = string
  default     = null

  validation {
    condition     = var.secret_prefix == null || can(regex("^[A-Za-z0-9/_+=.@-]{1,200}$", var.secret_prefix))
    error_message = "secret_prefix has to be letters, digits and /_+=.@- only."
  }
}

variable "settings" {
  description = "Other settings of OmniSentinel, by name without OMNI_: { threads = 2, log_level = \"DEBUG\" }."
  type        = map(string)
  default     = {}

  validation {
    condition = alltrue([for name in keys(var.settings) : contains([
      "endpoint_url", "fetch_connections", "job_ttl_s", "lease_s", "log_level", "max_calls", "max_result_bytes",
      "max_rows", "memory_limit", "pushdown", "threads",
    ], name)])
    error_message = "settings knows endpoint_url, fetch_connections, job_ttl_s, lease_s, log_level, max_calls, max_result_bytes, max_rows, memory_limit, pushdown and threads."
  }
}

variable "tags" {
  description = "Tags for everything, besides `deployment`."
  type        = map(string)
  default     = {}

  validation {
    condition     = !contains(keys(var.tags), "deployment")
    error_message = "The tag `deployment` is the module's own."
  }
}

variable "tracing" {
  description = "Whether calls leave X-Ray segments. Costs 190 ms of each cold start."
  type        = bool
  default     = false
}

variable "url_auth" {
  description = "Who may call ask's URL: AWS_IAM (callers sign; our key goes in X-Omni-Authorization) or NONE (anyone may connect; our API key is the identity)."
  type        = string
  default     = "AWS_IAM"

  validation {
    condition     = contains(["AWS_IAM", "NONE"], var.url_auth)
    error_message = "url_auth has to be AWS_IAM or NONE."
  }
}

variable "vpc" {
  description = "Subnets and security groups of the functions, where sources are inside a VPC. The subnets need a way to AWS's services (NAT, or endpoints). null: no VPC."
  type = object({
    security_group_ids = set(string)
    subnet_ids         = set(string)
  })
  default = null

  validation {
    condition     = var.vpc == null || try(length(var.vpc.subnet_ids) > 0 && length(var.vpc.security_group_ids) > 0, false)
    error_message = "vpc needs at least one subnet and one security group."
  }
}

variable "work_timeout_s" {
  description = "How long one asynchronous question may take."
  type        = number
  default     = 300

  validation {
    condition     = var.work_timeout_s >= 60 && var.work_timeout_s <= 900
    error_message = "work_timeout_s has to be 60 to 900."
  }
}
