variable "alarm_emails" {
  description = "Who gets the alarms and the budget's warnings."
  type        = set(string)
}

variable "manifest" {
  description = "Path of deployment.json, from `omni bundle aws --parts`."
  type        = string
}

variable "name" {
  description = "Every name begins with it."
  type        = string
  default     = "omni-production"
}

variable "previous_secrets" {
  description = "Set by `omni deploy aws --apply`: the secrets of the version that still has calls."
  type        = list(string)
  default     = []
}

variable "region" {
  description = "Where everything is and stays."
  type        = string
  default     = "eu-central-1"
}

variable "vpc" {
  description = "Where the databases are."
  type = object({
    security_group_ids = set(string)
    subnet_ids         = set(string)
  })
  default = null
}
