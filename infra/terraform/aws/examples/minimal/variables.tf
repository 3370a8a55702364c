variable "manifest" {
  description = "Path of deployment.json, from `omni bundle aws --parts`."
  type        = string
}
