# One function app with ask, watch and work, and what it stands on. Names that the whole world shares (storage accounts,
# vaults, hosts) end with a digest of subscription and name; the rest begins with the name.

data "azurerm_client_config" "deployer" {}

locals {
  manifest = jsondecode(file(var.manifest))
  folder   = dirname(var.manifest)
  digest   = substr(sha256("${data.azurerm_client_config.deployer.subscription_id}/${var.name}"), 0, 8)
  letters  = replace(var.name, "-", "")
  tags     = merge(var.tags, { omnisentinel = var.name })

  # Flex Consumption takes one app a plan, so a canary is a second plan with a second app.
  apps = merge(
    { stable = { manifest = local.manifest, folder = local.folder, name = "${var.name}-${local.digest}" } },
    var.canary == null ? {} : {
      canary = {
        manifest = jsondecode(file(var.canary.manifest))
        folder   = dirname(var.canary.manifest)
        name     = "${var.name}-c-${local.digest}"
      }
    },
  )

  # What Azure takes of Logic Apps in one region and subscription, whoever made them.
  most_timers = 1000

  # Geographies by the regions in which Flex Consumption is offered.
  regions = {
    africa     = ["southafricanorth"]
    america    = ["brazilsouth", "canadacentral", "canadaeast", "centralus", "eastus", "eastus2", "northcentralus", "southcentralus", "westcentralus", "westus", "westus2", "westus3", "mexicocentral"]
    asia       = ["centralindia", "eastasia", "indonesiacentral", "japaneast", "japanwest", "koreacentral", "malaysiawest", "southeastasia", "southindia"]
    australia  = ["australiacentral", "australiaeast", "australiasoutheast", "newzealandnorth"]
    europe     = ["francecentral", "germanywestcentral", "italynorth", "northeurope", "norwayeast", "polandcentral", "spaincentral", "swedencentral", "switzerlandnorth", "westeurope"]
    middleeast = ["israelcentral", "qatarcentral", "uaenorth"]
    uk         = ["uksouth", "ukwest"]
  }
}

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.region
  tags     = local.tags

  lifecycle {
    precondition {
      condition     = length(local.timers) <= local.most_timers
      error_message = "The project needs ${length(local.timers)} timers, the sweep's among them, and Azure takes ${local.most_timers} Logic Apps in a region and subscription: make two projects of it, deployed to two regions or subscriptions."
    }
  }
}
