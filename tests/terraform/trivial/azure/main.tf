# The smallest module that the tests of the stub itself use.
terraform {
  required_version = ">= 1.9"
  required_providers {
    azurerm = { source = "hashicorp/azurerm", version = ">= 5.0, < 6" }
  }
}

variable "name" {
  type = string
}

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = "westeurope"
}

resource "azurerm_logic_app_workflow" "this" {
  name                = var.name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  identity {
    type = "SystemAssigned"
  }
}

output "principal" {
  value = azurerm_logic_app_workflow.this.identity[0].principal_id
}
