variable "canary" {
  description = "Set by `omni deploy gcp --apply`: what the revision before the newest keeps of the calls."
  type        = any
  default     = {}
}

variable "manifest" {
  description = "Path of deployment.json, from `omni bundle gcp --parts`."
  type        = string
}

variable "previous_secrets" {
  description = "Set by `omni deploy gcp --apply`: the secrets of the version that still has calls."
  type        = list(string)
  default     = []
}

variable "project_id" {
  description = "The Google Cloud project."
  type        = string
}

variable "region" {
  description = "Where everything runs and is kept."
  type        = string
  default     = "europe-west3"
}
