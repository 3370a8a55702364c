variable "manifest" {
  description = "Path of deployment.json, from `omni bundle aws --parts`."
  type        = string
}

variable "previous_secrets" {
  description = "Set by `omni deploy aws --apply`: the secrets of the version that still has calls."
  type        = list(string)
  default     = []
}
