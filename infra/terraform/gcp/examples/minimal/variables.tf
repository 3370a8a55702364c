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
