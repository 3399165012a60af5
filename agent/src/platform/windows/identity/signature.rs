//! Who signed an executable: its own signature, or that of a catalogue which lists it, as most of Windows' own files are.
//!
//! Nothing is fetched: no revocation list, no missing certificate, no root from the update service. What cannot be decided with
//! what the machine has is not trusted.

use std::fs::File;
use std::os::windows::io::AsRawHandle as _;
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::{
    HANDLE, TRUST_E_NOSIGNATURE, TRUST_E_PROVIDER_UNKNOWN, TRUST_E_SUBJECT_FORM_UNKNOWN,
};
use windows_sys::Win32::Security::Cryptography::Catalog::{
    CATALOG_INFO, CryptCATAdminAcquireContext, CryptCATAdminAcquireContext2,
    CryptCATAdminCalcHashFromFileHandle, CryptCATAdminEnumCatalogFromHash,
    CryptCATAdminReleaseCatalogContext, CryptCATAdminReleaseContext, CryptCATCatalogInfoFromContext,
};
use windows_sys::Win32::Security::Cryptography::{CERT_NAME_SIMPLE_DISPLAY_TYPE, CertGetNameStringW};
use windows_sys::Win32::Security::WinTrust::{
    WINTRUST_ACTION_GENERIC_VERIFY_V2, WINTRUST_CATALOG_INFO, WINTRUST_DATA, WINTRUST_DATA_0,
    WINTRUST_FILE_INFO, WTD_CACHE_ONLY_URL_RETRIEVAL, WTD_CHOICE_CATALOG, WTD_CHOICE_FILE,
    WTD_DISABLE_MD2_MD4, WTD_REVOCATION_CHECK_NONE, WTD_REVOKE_NONE, WTD_STATEACTION_CLOSE,
    WTD_STATEACTION_VERIFY, WTD_UI_NONE, WTHelperGetProvSignerFromChain, WTHelperProvDataFromStateData,
    WinVerifyTrust,
};

use super::super::wide::{length_of, text, wide};

/// Longest hash of a catalogue's member.
const MAX_HASH: usize = 64;

/// What a look at the signatures of a file told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Whether it is signed by someone whom this machine trusts, and unchanged; `None` if that cannot be told.
    pub trusted: Option<bool>,
    /// Name of the signer, whether trusted or not.
    pub signer: String,
    /// It is a catalogue that is signed.
    pub catalogue: bool,
}

/// Looks at the signatures of an open file. `path` leads to it.
#[must_use]
pub fn signature(file: &File, path: &str) -> Signature {
    let Ok(path) = wide(path) else { return Signature::default() };
    let handle = file.as_raw_handle();
    let mut embedded = WINTRUST_FILE_INFO {
        cbStruct: length_of::<WINTRUST_FILE_INFO>(),
        pcwszFilePath: path.as_ptr(),
        hFile: handle,
        ..Default::default()
    };
    let (code, signer) = verify(WTD_CHOICE_FILE, WINTRUST_DATA_0 { pFile: &raw mut embedded });
    match code {
        0 => Signature { trusted: Some(true), signer, catalogue: false },
        TRUST_E_NOSIGNATURE | TRUST_E_SUBJECT_FORM_UNKNOWN | TRUST_E_PROVIDER_UNKNOWN => {
            listed(handle, &path).unwrap_or_default()
        }
        _ => Signature { trusted: Some(false), signer, catalogue: false },
    }
}

/// The system's verdict, and the name of who signed first.
fn verify(choice: u32, what: WINTRUST_DATA_0) -> (i32, String) {
    let mut data = WINTRUST_DATA {
        cbStruct: length_of::<WINTRUST_DATA>(),
        dwUIChoice: WTD_UI_NONE,
        fdwRevocationChecks: WTD_REVOKE_NONE,
        dwUnionChoice: choice,
        Anonymous: what,
        dwStateAction: WTD_STATEACTION_VERIFY,
        dwProvFlags: WTD_CACHE_ONLY_URL_RETRIEVAL | WTD_REVOCATION_CHECK_NONE | WTD_DISABLE_MD2_MD4,
        ..Default::default()
    };
    let mut action = WINTRUST_ACTION_GENERIC_VERIFY_V2;
    // SAFETY: action and data are ours, and what the data point to lives longer than both calls; no window is shown.
    let code = unsafe { WinVerifyTrust(std::ptr::null_mut(), &raw mut action, (&raw mut data).cast()) };
    let signer = signer(data.hWVTStateData);
    data.dwStateAction = WTD_STATEACTION_CLOSE;
    // SAFETY: as above; this gives back what the first call holds.
    unsafe { WinVerifyTrust(std::ptr::null_mut(), &raw mut action, (&raw mut data).cast()) };
    (code, signer)
}

/// The name in the certificate of the first signer.
fn signer(state: HANDLE) -> String {
    if state.is_null() {
        return String::new();
    }
    // SAFETY: the state is that of a verification which is not closed yet; each place is looked at before it is followed, and
    // the name is written to units that are ours.
    unsafe {
        let provider = WTHelperProvDataFromStateData(state);
        if provider.is_null() {
            return String::new();
        }
        let signer = WTHelperGetProvSignerFromChain(provider, 0, 0, 0);
        if signer.is_null() || (*signer).csCertChain == 0 || (*signer).pasCertChain.is_null() {
            return String::new();
        }
        let certificate = (*(*signer).pasCertChain).pCert;
        if certificate.is_null() {
            return String::new();
        }
        let mut units = [0u16; 512];
        CertGetNameStringW(
            certificate,
            CERT_NAME_SIMPLE_DISPLAY_TYPE,
            0,
            std::ptr::null(),
            units.as_mut_ptr(),
            511,
        );
        text(&units)
    }
}

/// The administration of catalogues.
struct Catalogues {
    handle: isize,
    /// Its hashes are those of SHA-256, since Windows 8.
    new: bool,
}

impl Catalogues {
    fn open() -> Option<Self> {
        let sha256 = wide("SHA256").ok()?;
        let mut handle = 0;
        // SAFETY: the name ends with a zero, and null stands for the catalogues of the system and no further policy.
        let new = calculate().is_some()
            && unsafe {
                CryptCATAdminAcquireContext2(
                    &raw mut handle,
                    std::ptr::null(),
                    sha256.as_ptr(),
                    std::ptr::null(),
                    0,
                )
            } != 0;
        // SAFETY: as above.
        let opened = new || unsafe { CryptCATAdminAcquireContext(&raw mut handle, std::ptr::null(), 0) } != 0;
        opened.then_some(Self { handle, new })
    }

    /// The file's hash as catalogues list it: that of what does not change by signing.
    fn hash(&self, file: HANDLE) -> Option<Vec<u8>> {
        let mut hash = vec![0u8; MAX_HASH];
        let mut length = u32::try_from(MAX_HASH).unwrap_or(0);
        // SAFETY: both handles are open, and `length` bytes are ours.
        let worked = unsafe {
            match calculate().filter(|_| self.new) {
                Some(calculate) => calculate(self.handle, file, &raw mut length, hash.as_mut_ptr(), 0),
                None => CryptCATAdminCalcHashFromFileHandle(file, &raw mut length, hash.as_mut_ptr(), 0),
            }
        };
        hash.truncate(length as usize);
        (worked != 0 && !hash.is_empty()).then_some(hash)
    }
}

impl Drop for Catalogues {
    fn drop(&mut self) {
        // SAFETY: the handle is open and ours.
        unsafe { CryptCATAdminReleaseContext(self.handle, 0) };
    }
}

type Calculate = unsafe extern "system" fn(isize, HANDLE, *mut u32, *mut u8, u32) -> i32;

/// `CryptCATAdminCalcHashFromFileHandle2`, which Windows 7 and Wine have not: a program that named it would not start there.
fn calculate() -> Option<Calculate> {
    static FOUND: OnceLock<Option<Calculate>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // SAFETY: the library is the system's own and is part of this program already; the function has this form
        // (mscat.h), and its library is never unloaded.
        unsafe {
            let library = libloading::os::windows::Library::open_already_loaded("wintrust.dll").ok()?;
            let found =
                library.get::<Calculate>(b"CryptCATAdminCalcHashFromFileHandle2\0").ok().map(|found| *found);
            std::mem::forget(library);
            found
        }
    })
}

/// What the catalogues say of a file; `None` if they could not be asked.
fn listed(file: HANDLE, path: &[u16]) -> Option<Signature> {
    let catalogues = Catalogues::open()?;
    let mut hash = catalogues.hash(file)?;
    let length = u32::try_from(hash.len()).ok()?;
    // SAFETY: the handle is open, and `length` bytes are ours; no catalogue goes before.
    let found = unsafe {
        CryptCATAdminEnumCatalogFromHash(catalogues.handle, hash.as_ptr(), length, 0, std::ptr::null_mut())
    };
    if found == 0 {
        return Some(Signature { trusted: Some(false), ..Signature::default() });
    }
    let mut information = CATALOG_INFO { cbStruct: length_of::<CATALOG_INFO>(), ..Default::default() };
    // SAFETY: the catalogue was just found, and the structure is ours.
    let told = unsafe { CryptCATCatalogInfoFromContext(found, &raw mut information, 0) };
    let verdict = (told != 0).then(|| {
        let tag: String = hash.iter().map(|byte| format!("{byte:02X}")).collect();
        let tag = wide(tag).unwrap_or_else(|_| vec![0]);
        let mut member = WINTRUST_CATALOG_INFO {
            cbStruct: length_of::<WINTRUST_CATALOG_INFO>(),
            pcwszCatalogFilePath: information.wszCatalogFile.as_ptr(),
            pcwszMemberTag: tag.as_ptr(),
            pcwszMemberFilePath: path.as_ptr(),
            hMemberFile: file,
            pbCalculatedFileHash: hash.as_mut_ptr(),
            cbCalculatedFileHash: length,
            hCatAdmin: catalogues.handle,
            ..Default::default()
        };
        verify(WTD_CHOICE_CATALOG, WINTRUST_DATA_0 { pCatalog: &raw mut member })
    });
    // SAFETY: both handles are open, and the catalogue is not used any more.
    unsafe { CryptCATAdminReleaseCatalogContext(catalogues.handle, found, 0) };
    verdict.map(|(code, signer)| Signature { trusted: Some(code == 0), signer, catalogue: true })
}

#[cfg(test)]
mod tests {
    use super::super::process::open_file;
    use super::*;

    #[test]
    fn a_program_that_nobody_signed_is_not_trusted() {
        let own = std::env::current_exe().unwrap();
        let path = own.to_str().unwrap();
        let told = signature(&open_file(path).unwrap(), path);
        // Where catalogues cannot be asked, it cannot be told.
        assert_ne!(told.trusted, Some(true));
        assert_eq!(told.signer, "");
    }
}
