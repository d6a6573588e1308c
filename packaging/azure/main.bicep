// The three templates of this folder in one deployment, with the settings that must agree said once.
//
// Bicep takes ARM JSON as modules, so what is made stands in one place, and in one language.

@description('Name of the whole, in most resources\' names: three to ten lower-case letters and digits.')
@minLength(3)
@maxLength(10)
param name string

param location string = resourceGroup().location

@description('Object id of whoever uploads projects and writes secrets: az ad signed-in-user show --query id')
param operatorObjectId string = ''

@description('Days after which what tasks left (stdout.txt, stderr.txt, activity.json) is deleted.')
param keepTaskFilesDays int = 30

param poolName string = 'dray'

param vmSize string = 'STANDARD_D2DS_V5'

@allowed([
  'server'
  'server-gen1'
])
param imageSku string = 'server'

@description('Who decides how many nodes there are: waiting tasks, these and a schedule, or the pipeline.')
@allowed([
  'pendingTasks'
  'schedule'
  'pipeline'
])
param scaling string = 'pendingTasks'

@allowed([
  'dedicated'
  'spot'
])
param nodeKind string = 'dedicated'

param maxNodes int = 4

@description('With scaling=schedule: as many nodes at least, from warmFromHour to warmToHour (UTC).')
param warmNodes int = 1

param warmFromHour int = 6

param warmToHour int = 18

param warmOnWeekends bool = false

@description('With scaling=pipeline: how many nodes a run gets.')
param nodes int = 1

@description('Needs install-odbc-driver.sh in the storage account before the pool has its first node.')
param installOdbcDriver bool = false

param projectFile string = 'project.zip'

param entry string = 'main.py'

@description('Names of linked services of the factory that the script connects to; make them first, in a factory that is there.')
param databaseLinkedServices array = []

module account 'account.json' = {
  name: 'account'
  params: {
    name: name
    location: location
    operatorObjectId: operatorObjectId
    keepTaskFilesDays: keepTaskFilesDays
  }
}

module pool 'pool.json' = {
  name: 'pool'
  params: {
    name: name
    poolName: poolName
    vmSize: vmSize
    imageSku: imageSku
    scaling: scaling
    nodeKind: nodeKind
    maxNodes: maxNodes
    warmNodes: warmNodes
    warmFromHour: warmFromHour
    warmToHour: warmToHour
    warmOnWeekends: warmOnWeekends
    installOdbcDriver: installOdbcDriver
  }
  dependsOn: [
    account
  ]
}

module factory 'factory.json' = {
  name: 'factory'
  params: {
    name: name
    location: location
    poolName: poolName
    nodeKind: nodeKind
    resizePool: scaling == 'pipeline'
    nodes: nodes
    projectFile: projectFile
    entry: entry
    databaseLinkedServices: databaseLinkedServices
  }
  dependsOn: [
    account
    pool
  ]
}

output storageAccount string = account.outputs.storageAccount
output batchAccount string = account.outputs.batchAccount
output vault string = account.outputs.vault
output nodeIdentityClientId string = account.outputs.nodeIdentityClientId
output pool string = pool.outputs.pool
output formula string = pool.outputs.formula
output factory string = factory.outputs.factory
output pipeline string = factory.outputs.pipeline
