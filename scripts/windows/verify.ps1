<#
.SYNOPSIS
Looks whether Sonde does on a real Windows what so far was only run under Wine, and writes down what it found.

.DESCRIPTION
For a person with a machine to spare (Windows 10 or 11, or Server 2016 and later, 64 bit), in a PowerShell that was started as
administrator:

    powershell -ExecutionPolicy Bypass -File verify.ps1 -Package .\sonde-0.1.0-x64.msi -Target 192.0.2.10:443

It installs Sonde, starts it, lets it watch one connection, kills it, removes it, and leaves %ProgramData%\Sonde and a report
beside this script. Every check says what it expects and what it saw; nothing is repaired. Nobody has run this script yet:
where it is wrong itself, say so in the report. See docs/windows.md.

.PARAMETER Package
The installer, as scripts/windows/package builds it.
.PARAMETER Target
A host and port of yours that takes TCP connections, to see that a connection is given its program. Without it that is left out.
.PARAMETER TryRestricted
Also try the restricted kind of service identifier: whether event tracing can be had with it is not known.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)][string]$Package,
    [string]$Target = '',
    [switch]$TryRestricted
)

Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'
$program = Join-Path $env:ProgramFiles 'Sonde\sonde.exe'
$data = Join-Path $env:ProgramData 'Sonde'
$report = Join-Path $PSScriptRoot ('sonde-verify-{0:yyyyMMdd-HHmmss}.txt' -f (Get-Date))
$script:failed = 0

function Write-Report([string]$Line) {
    Write-Host $Line
    Add-Content -Path $report -Value $Line -Encoding UTF8
}

# A check: its name, what is expected, and a block that answers with what it saw or throws.
function Test-Point([string]$Name, [scriptblock]$Look) {
    try {
        $saw = & $Look
        Write-Report ("ok      {0}: {1}" -f $Name, ($saw -join '; '))
    } catch {
        $script:failed++
        Write-Report ("FAILED  {0}: {1}" -f $Name, $_.Exception.Message)
    }
}

function Assert-That([bool]$Holds, [string]$Otherwise) {
    if (-not $Holds) { throw $Otherwise }
}

function Invoke-Sonde([string[]]$Arguments) {
    $text = & $program @Arguments 2>&1 | Out-String
    [pscustomobject]@{ Code = $LASTEXITCODE; Text = $text.Trim() }
}

function Get-Status {
    $answer = Invoke-Sonde @('status', '--format', 'json')
    Assert-That ($answer.Code -eq 0) ("sonde status: {0}" -f $answer.Text)
    $answer.Text | ConvertFrom-Json
}

function Wait-For([int]$Seconds, [string]$What, [scriptblock]$Fits) {
    $until = (Get-Date).AddSeconds($Seconds)
    while ((Get-Date) -lt $until) {
        try { if (& $Fits) { return } } catch { Write-Verbose $_.Exception.Message }
        Start-Sleep -Milliseconds 250
    }
    throw "$What : not within $Seconds s"
}

function Install-Package([string]$Action) {
    $log = Join-Path $PSScriptRoot 'sonde-verify-msi.log'
    $run = Start-Process msiexec.exe -ArgumentList @($Action, "`"$Package`"", '/qn', '/l*v', "`"$log`"") -Wait -PassThru
    Assert-That ($run.ExitCode -eq 0) ("msiexec {0} ended with {1}; see {2}" -f $Action, $run.ExitCode, $log)
}

# Accounts besides SYSTEM, administrators and the installer of Windows that may do something with a file or folder.
function Get-Strangers([string]$Path) {
    $trusted = @('S-1-5-18', 'S-1-5-32-544', 'S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464')
    $acl = Get-Acl -Path $Path
    $rules = $acl.GetAccessRules($true, $true, [System.Security.Principal.SecurityIdentifier])
    @($rules | Where-Object { $_.AccessControlType -eq 'Allow' -and $trusted -notcontains $_.IdentityReference.Value } |
            ForEach-Object { $_.IdentityReference.Value })
}

$me = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    throw 'Start PowerShell as administrator, then run this again.'
}
if (Get-Service -Name Sonde -ErrorAction SilentlyContinue) { throw 'Sonde is installed already: remove it first (sonde service uninstall).' }
if (Test-Path $data) { throw "$data is there already: move it away first, so that this begins anew." }
$Package = (Resolve-Path $Package).Path
$system = Get-CimInstance Win32_OperatingSystem
Write-Report ("Sonde on {0} {1}, {2}; package {3}" -f $system.Caption, $system.Version, $system.OSArchitecture, (Split-Path -Leaf $Package))
Write-Report ("package SHA-256 {0}" -f (Get-FileHash $Package -Algorithm SHA256).Hash)

Test-Point 'the installer starts nothing that is not configured' {
    Install-Package '/i'
    $service = Get-Service -Name Sonde
    Assert-That ($service.Status -eq 'Stopped') ("it is {0}" -f $service.Status)
    'installed, stopped'
}
Test-Point 'the path of the service is quoted' {
    $path = (Get-CimInstance Win32_Service -Filter "Name='Sonde'").PathName
    Assert-That ($path -eq "`"$program`" run --service") $path
    $path
}
Test-Point 'it starts late, and again after a fault' {
    $key = Get-ItemProperty 'HKLM:\SYSTEM\CurrentControlSet\Services\Sonde'
    Assert-That ($key.DelayedAutostart -eq 1) 'no delayed start'
    Assert-That ($key.FailureActionsOnNonCrashFailures -eq 1) 'nothing after an exit code'
    Assert-That ($null -ne $key.FailureActions) 'no failure actions'
    Assert-That ($key.ServiceSidType -eq 1) 'no identifier of its own'
    'DelayedAutostart, FailureActions, FailureActionsOnNonCrashFailures, ServiceSidType'
}
foreach ($folder in @($data, (Join-Path $data 'state'), (Join-Path $data 'log'))) {
    Test-Point "only SYSTEM and administrators may open $folder" {
        $strangers = @(Get-Strangers $folder)
        Assert-That ($strangers.Count -eq 0) ($strangers -join ', ')
        $acl = Get-Acl $folder
        Assert-That ($folder -ne $data -or $acl.AreAccessRulesProtected) 'it inherits from above'
        $acl.Owner
    }
}
Test-Point 'nobody else may change the program' {
    $acl = (Get-Acl $program).Access | Where-Object { $_.FileSystemRights -match 'Write|Modify|FullControl' }
    ($acl | ForEach-Object { $_.IdentityReference.Value }) -join ', '
}

# What the Event Log is told, and a file beside, with all that is found.
$config = @"
[sinks.log]
records = ["alert", "health", "audit"]
min_severity = "info"
[sinks.log.notice]
"@
[IO.File]::WriteAllText((Join-Path $data 'sonde.toml'), $config, (New-Object Text.UTF8Encoding $false))
Test-Point 'the configuration can be used' {
    $answer = Invoke-Sonde @('config', 'check')
    Assert-That ($answer.Code -eq 0) $answer.Text
    $answer.Text
}
Test-Point 'sonde doctor' {
    $answer = Invoke-Sonde @('doctor')
    Write-Report $answer.Text
    Assert-That ($answer.Code -eq 0) "exit code $($answer.Code)"
    'exit code 0'
}
Test-Point 'the service starts' {
    $answer = Invoke-Sonde @('service', 'start')
    Assert-That ($answer.Code -eq 0) $answer.Text
    (Invoke-Sonde @('service', 'status')).Text
}
Test-Point 'connections come from event tracing' {
    $parts = (Get-Status).parts
    Write-Report ($parts | ConvertTo-Json -Depth 6)
    $layer = @($parts | Where-Object { $_.name -eq 'etw' })
    Assert-That ($layer.Count -eq 1) 'etw is not among its parts'
    (& logman.exe query -ets | Select-String 'Sonde').Line
}
Test-Point 'the control pipe admits administrators alone' {
    $acl = [IO.Directory]::GetAccessControl('\\.\pipe\sonde')
    ($acl.Access | ForEach-Object { "$($_.IdentityReference) $($_.FileSystemRights)" }) -join ', '
}
if ($Target) {
    Test-Point "a connection of this PowerShell to $Target is given its program" {
        $name, $port = $Target.Split(':')
        1..5 | ForEach-Object {
            $client = New-Object Net.Sockets.TcpClient
            $client.Connect($name, [int]$port)
            $client.GetStream().WriteByte(13)
            $client.Close()
            Start-Sleep -Seconds 2
        }
        $own = [Diagnostics.Process]::GetCurrentProcess().MainModule.FileName
        Wait-For 60 'the series' {
            (Invoke-Sonde @('beacons', '--format', 'ndjson')).Text -match [regex]::Escape($own.Replace('\', '\\'))
        }
        $own
    }
}
Test-Point 'a changed configuration is taken up' {
    Add-Content (Join-Path $data 'sonde.toml') "`n[log]`nlevel = `"debug`""
    & sc.exe control Sonde paramchange | Out-Null
    Wait-For 20 'the log says so' { (Get-Content (Join-Path $data 'log\sonde.log') -Raw) -match 'the configuration is reloaded' }
    'sc.exe control Sonde paramchange'
}
Test-Point 'the Event Log has entries with their text' {
    $entries = @(Get-WinEvent -FilterHashtable @{ LogName = 'Application'; ProviderName = 'Sonde' } -MaxEvents 5)
    Assert-That ($entries.Count -gt 0) 'none'
    Assert-That ($entries[0].Message -notmatch 'description for Event ID') $entries[0].Message
    $entries[0].Message
}
Test-Point 'killed, it is started again by the service manager' {
    $before = (Get-Status).pid
    Stop-Process -Id $before -Force
    Wait-For 60 'another process' { (Get-Status).pid -ne $before }
    (Invoke-Sonde @('service', 'status')).Text
}
if ($TryRestricted) {
    Test-Point 'event tracing with a restricted identifier' {
        & sc.exe sidtype Sonde restricted | Out-Null
        # With it nothing can be written that does not name the service.
        & icacls.exe $data /grant 'NT SERVICE\Sonde:(OI)(CI)F' | Out-Null
        try {
            Restart-Service Sonde
            (Get-Status).parts | Where-Object { $_.name -eq 'etw' -or $_.name -eq 'poll' } | ConvertTo-Json -Depth 6
        } finally {
            & sc.exe sidtype Sonde unrestricted | Out-Null
            & icacls.exe $data /remove 'NT SERVICE\Sonde' | Out-Null
            Restart-Service Sonde
        }
    }
}
Test-Point 'it stops, and leaves no session of event tracing' {
    $answer = Invoke-Sonde @('service', 'stop')
    Assert-That ($answer.Code -eq 0) $answer.Text
    $left = & logman.exe query -ets | Select-String 'Sonde-'
    Assert-That (-not $left) "$left"
    $answer.Text
}
Test-Point 'the removal leaves what was learnt' {
    Install-Package '/x'
    Assert-That (-not (Get-Service -Name Sonde -ErrorAction SilentlyContinue)) 'the service is there'
    Assert-That (-not (Test-Path $program)) 'the program is there'
    Assert-That (Test-Path (Join-Path $data 'state\sensor.id')) 'the state is gone'
    'service and program are gone, state is there'
}
Write-Report ("{0} checks failed. Report: {1}" -f $script:failed, $report)
exit [Math]::Min($script:failed, 1)
