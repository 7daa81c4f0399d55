import './desktop.css';
import '@lectern/call';

import { createApp } from 'vue';

import DesktopPage from './DesktopPage.vue';

createApp(DesktopPage).mount('#app');
