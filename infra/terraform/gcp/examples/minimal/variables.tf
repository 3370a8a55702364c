variable "canary" {
  description = "Set by `omni deploy gcp --apply`: what the revision before the newest keeps of the calls."
  type        = any
  default     = {}
}

variable "manifest" {
  description = "Path of deployment.json, from `omni bundle gcp --parts`."
  type        = string
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
