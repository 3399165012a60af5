/* Tells the service Sonde that its configuration has changed, as `sc.exe control Sonde paramchange` does on Windows: Wine's
 * sc.exe cannot. Test use only - never shipped.
 */
#include <windows.h>

int wmain(void)
{
    SERVICE_STATUS status;
    SC_HANDLE manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT);
    SC_HANDLE service = manager ? OpenServiceW(manager, L"Sonde", SERVICE_PAUSE_CONTINUE) : NULL;
    return service && ControlService(service, SERVICE_CONTROL_PARAMCHANGE, &status) ? 0 : 1;
}
